"""WSGI servers and a proxy that serve the same app: gunicorn, uWSGI, Apache with mod_wsgi, nginx, ``flask run``."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import valetkey
from tests.support.program import NotInstalled, Program, accepts_connections, find_program, free_port

SOURCE_FOLDER = Path(valetkey.__file__).parents[1]
SITE_PACKAGES = sysconfig.get_path("purelib")
#: An app with a view of its own and a protected one, for ``served_app``.
PLAIN_APP = """
from flask import Flask
from valetkey import Valetkey, require_oauth

app = Flask(__name__)
Valetkey(app, scopes={"profile": "See your name"})


@app.get("/host/view")
def host_view():
    return "the host's own"


@app.get("/api/protected")
@require_oauth("profile")
def protected():
    return "protected"
"""
_APACHE_MODULE = Path("/usr/lib/apache2/modules/mod_wsgi.so")
_APACHE_CONFIGURATION = """
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog {folder}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module {module}
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess app processes=1 threads=5 home={folder} python-path={site_packages}
WSGIProcessGroup app
WSGIApplicationGroup %{{GLOBAL}}
WSGIPassAuthorization On
WSGIScriptAlias / {folder}/apache.wsgi
"""
_NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; {headers} }}
    }}
}}
"""


@dataclass(frozen=True)
class ServedApp:
    """An app that a server serves. The folder is the server's working directory, and its logs are in it."""

    url: str
    folder: Path

    @property
    def log(self) -> str:
        """The output and the logs of the server so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    @property
    def files(self) -> set[str]:
        """The names of the files and folders in the working directory, without the server's own."""
        own = ("app.py", "apache", "nginx", "wsgi.", "body", "proxy", "fastcgi", "uwsgi", "scgi", "__pycache__")
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(own) and path.suffix != ".log"}

    def get(self, path: str, *, host: str | None = None, **headers: str) -> httpx.Response:
        """Send a GET request, with another ``Host`` header than the server's address if ``host`` is passed."""
        return httpx.get(self.url + path, headers={**headers, **({"Host": host} if host else {})}, timeout=30)

    def post(self, path: str, *, host: str | None = None, **body: object) -> httpx.Response:
        """Send a POST request with a JSON body."""
        return httpx.post(self.url + path, json=body, headers={"Host": host} if host else {}, timeout=30)


def _gunicorn(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "app:app"]


def _flask_run(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "app.py", "run", "--port", str(port)]


def _uwsgi(folder: Path, port: int) -> list[str]:
    program = find_program(["uwsgi"], package="uwsgi uwsgi-plugin-python3")
    python_path = [f"--pythonpath={path}" for path in (SOURCE_FOLDER, SITE_PACKAGES, folder)]
    options = [
        "--plugin",
        "python3",
        "--http-socket",
        f"127.0.0.1:{port}",
        "--master",
        "--enable-threads",
        "--need-app",
    ]
    return [program, *options, "--threads", "4", "--die-on-term", "--module", "app:app", *python_path]


def _apache(folder: Path, port: int) -> list[str]:
    if not _APACHE_MODULE.exists():
        raise NotInstalled("libapache2-mod-wsgi-py3 is not installed: run `make test`")
    python_path = [str(SOURCE_FOLDER), str(folder)]  # mod_wsgi does not read PYTHONPATH
    script = f"import sys\nsys.path[:0] = {python_path}\nfrom app import app as application\n"
    (folder / "apache.wsgi").write_text(script)
    (folder / "apache.conf").write_text(
        _APACHE_CONFIGURATION.format(folder=folder, port=port, module=_APACHE_MODULE, site_packages=SITE_PACKAGES)
    )
    return [find_program(["apache2"], package="apache2"), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def _valetkey_serve(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "valetkey", "--app", "app.py", "serve", "--port", str(port)]


# uWSGI and mod_wsgi are Debian's, for Debian's version of Python.
SERVERS: Mapping[str, Callable[[Path, int], list[str]]] = {
    "gunicorn": _gunicorn,
    "uwsgi": _uwsgi,
    "apache": _apache,
    "flask run": _flask_run,
}
_ALL_SERVERS = {**SERVERS, "valetkey serve": _valetkey_serve}


@contextmanager
def served_app(server: str, app: str, settings: Mapping[str, str], *, port: int | None = None) -> Iterator[ServedApp]:
    """Context manager that serves an app with one of ``SERVERS``, or with ``valetkey serve``, from an empty folder.

    :param app: the source text of the module; its Flask app is ``app``.
    :param settings: environment variables.
    """
    port = port or free_port()
    folder = Path(tempfile.mkdtemp(prefix="valetkey-server-"))
    program = None
    try:
        (folder / "app.py").write_text(app)
        command = _ALL_SERVERS[server](folder, port)
        account = "www-data" if server == "apache" and not os.geteuid() else None  # as root, Apache refuses to serve
        if account:
            owner = pwd.getpwnam(account)
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {**inherited, "PYTHONPATH": str(SOURCE_FOLDER), "PYTHONDONTWRITEBYTECODE": "1", **settings}
        program = Program(
            command,
            log=folder / "output.log",
            is_ready=lambda: _responds(port),
            environment=environment,
            cwd=folder,
            run_as=account,
        )
        yield ServedApp(f"http://127.0.0.1:{port}", folder)
    finally:
        if program is not None:
            program.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def nginx_before(app: ServedApp, *headers: str) -> Iterator[ServedApp]:
    """Context manager that runs nginx as a proxy in front of an app.

    :param headers: headers that nginx sets, such as ``Host $host``.
    """
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="valetkey-nginx-"))
    program = None
    try:
        configuration = _NGINX_CONFIGURATION.format(
            folder=folder,
            port=port,
            upstream=app.url.rpartition(":")[2],
            headers=" ".join(f"proxy_set_header {header};" for header in headers),
        )
        (folder / "nginx.conf").write_text(configuration)
        nginx = find_program(["nginx", "/usr/sbin/nginx"], package="nginx-light")
        program = Program(
            [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")],
            log=folder / "output.log",
            is_ready=lambda: accepts_connections(port),
            environment={"PATH": os.environ["PATH"]},
            cwd=folder,
        )
        yield ServedApp(f"http://127.0.0.1:{port}", app.folder)
    finally:
        if program is not None:
            program.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _responds(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/host/view", timeout=5).is_success
    except httpx.TransportError:
        return False
