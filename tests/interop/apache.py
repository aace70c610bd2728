"""Apache with a Debian module for OAuth or OpenID Connect, and one page."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import Self

import httpx

from tests.support.program import NotInstalled, Program, find_program, free_port

MODULES_DIR = Path("/usr/lib/apache2/modules")
_LOADED_MODULES = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers")
_CONFIGURATION = """
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
KeepAlive Off
ErrorLog {folder}/error.log
{modules}
DocumentRoot {folder}/pages
{site}
"""


class Apache:
    """An Apache server with its own folder and port, and one page. Call ``configure()``, then enter the context.

    :param module: the module to load, without ``mod_``.
    :param package: the Debian package of the module.
    :param page: the path of the page.
    """

    def __init__(self, module: str, package: str, page: str) -> None:
        self.port = free_port()
        self.page_url = f"http://127.0.0.1:{self.port}{page}"
        self._module, self._package, self._page = module, package, page

    def configure(self, site: str) -> Self:
        """Set what is added to the configuration file of Apache."""
        self._site = site
        return self

    def __enter__(self) -> Self:
        if not (MODULES_DIR / f"mod_{self._module}.so").exists():
            raise NotInstalled(f"{self._package} is not installed: run `make test`")
        self._folder = Path(tempfile.mkdtemp(prefix="valetkey-apache-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_program"):
            self._program.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        page = self._folder / "pages" / self._page.removeprefix("/")
        page.parent.mkdir(parents=True)
        page.write_text("The page behind.\n")
        configuration = self._folder / "apache.conf"
        modules = (*_LOADED_MODULES, self._module)
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                port=self.port,
                modules="\n".join(f"LoadModule {name}_module {MODULES_DIR}/mod_{name}.so" for name in modules),
                site=self._site,
            )
        )
        account = None if os.geteuid() else "www-data"  # as root, Apache does not serve requests
        if account:
            owner = pwd.getpwnam(account)
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._program = Program(
            [find_program(["apache2"], package="apache2"), "-f", str(configuration), "-DFOREGROUND"],
            log=self._folder / "apache.log",
            is_ready=self._is_ready,
            environment={"PATH": os.environ["PATH"], "LANG": "C"},
            cwd=self._folder,
            run_as=account,
        )

    def _is_ready(self) -> bool:
        """Return whether Apache responds; a connection alone may be closed again while Apache starts its children."""
        try:
            return httpx.get(self.page_url).status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except httpx.TransportError:
            return False

    @property
    def log(self) -> str:
        """The error log of Apache and the module."""
        return (self._folder / "error.log").read_text(errors="replace")
