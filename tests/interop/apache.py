"""Apache with mod_auth_openidc, in front of an app that does not support OpenID Connect itself."""

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
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client_id}
OIDCClientSecret {client_secret}
OIDCRedirectURI http://127.0.0.1:{port}/protected/callback
OIDCCryptoPassphrase {passphrase}
OIDCScope "openid profile email"
OIDCPKCEMethod S256
{extra_configuration}
<Location /protected/>
    AuthType openid-connect
    Require valid-user
    # an app behind Apache would read these values; the test reads them from the response
    Header set Seen-User "expr=%{{REMOTE_USER}}"
    Header set Seen-Email "expr=%{{HTTP:OIDC_CLAIM_email}}"
    Header set Seen-Name "expr=%{{HTTP:OIDC_CLAIM_name}}"
</Location>
"""
_LOADED_MODULES = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "auth_openidc")


class Apache:
    """An Apache server with its own folder and port. Call ``configure()`` with a client, then enter the context."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/protected/"
        self.redirect_uri = f"{self.url}callback"
        self.post_logout_redirect_uri = f"http://127.0.0.1:{self.port}/goodbye"

    def configure(self, *, issuer: str, client_id: str, client_secret: str, extra_configuration: str = "") -> Self:
        """Set the relying party that Apache is; ``extra_configuration`` is added to Apache's configuration file."""
        self._client_settings = {
            "issuer": issuer,
            "client_id": client_id,
            "client_secret": client_secret,
            "extra_configuration": extra_configuration,
        }
        return self

    def __enter__(self) -> Self:
        if not (MODULES_DIR / "mod_auth_openidc.so").exists():
            raise NotInstalled("libapache2-mod-auth-openidc is not installed: run `make test`")
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
        page = self._folder / "pages" / "protected" / "page"
        page.parent.mkdir(parents=True)
        page.write_text("The page behind.\n")
        configuration = self._folder / "apache.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                port=self.port,
                modules="\n".join(f"LoadModule {name}_module {MODULES_DIR}/mod_{name}.so" for name in _LOADED_MODULES),
                passphrase=os.urandom(16).hex(),
                **self._client_settings,
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
            return httpx.get(self.url + "page").status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except httpx.TransportError:
            return False

    @property
    def log(self) -> str:
        """The error log of Apache and the module."""
        return (self._folder / "error.log").read_text(errors="replace")
