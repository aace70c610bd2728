"""The configurations in docs/deployment.md, as on the page, with other paths, ports and numbers of processes."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.journeys.checkout import PROJECT_DIR
from tests.support.program import Program, find_program, free_port
from tests.support.wsgi_servers import SITE_PACKAGES, SOURCE_FOLDER
from valetkey.cli.certificate import ensure_self_signed_certificate

MOD_WSGI = Path(f"/usr/lib/apache2/modules/mod_wsgi.so-{sys.version_info.major}.{sys.version_info.minor}")
PAGE = (PROJECT_DIR / "docs" / "deployment.md").read_text()
HOST = "api.example.com"
CALLER = "127.0.0.2"  # the address that requests come from
_NGINX = """
daemon off; master_process off;
pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {server}
}}
"""
_APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog {folder}/apache-error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
WSGISocketPrefix {folder}/wsgi
{host}
"""
_CADDY = """{{
    admin off
    skip_install_trust
    default_bind 127.0.0.1
    auto_https disable_redirects
    storage file_system {folder}/caddy
}}
{site}
"""


def find_block(section: str, language: str, number: int = 0) -> str:
    """Return a code block of a section of the page."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0] if section else PAGE.split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number]


class Site:
    """A folder with the app of the page, its database and a client; the servers of one recipe."""

    def __init__(self, issuer_path: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valetkey-recipe-"))
        self.folder.chmod(0o755)
        self.port, self.upstream_port = free_port(), free_port()
        self.path = issuer_path
        self.certificate, self.key = ensure_self_signed_certificate(self.folder, [HOST])
        (self.folder / "app.py").write_text(find_block("", "python"))
        self.programs = ExitStack()
        transport = httpx.HTTPTransport(local_address=CALLER, verify=False)  # the certificate is the test's own
        self.http = httpx.Client(transport=transport, headers={"Host": HOST}, timeout=30)

    def close(self) -> None:
        self.http.close()
        self.programs.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def adapt(self, text: str) -> str:
        """Return a configuration with the paths, ports and numbers of processes of this site."""
        for original, replacement in {
            "python-path=/srv/shop": f"python-path={self.folder}:{SOURCE_FOLDER}",
            "/srv/shop/venv": sys.prefix,
            "/srv/shop": str(self.folder),
            "/run/shop": str(self.folder),
            "/etc/shop.env": str(self.folder / "shop.env"),
            f"/etc/ssl/{HOST}.pem": str(self.certificate),
            f"/etc/ssl/{HOST}.key": str(self.key),
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "*:443": f"127.0.0.1:{self.port}",
            "127.0.0.1:8000": f"127.0.0.1:{self.upstream_port}",
            "--port 8000": f"--port {self.upstream_port}",
            "--workers 4": "--workers 2",
            "processes = 4": "processes = 2",
            "processes=4": "processes=2",
        }.items():
            text = text.replace(original, replacement)
        return text

    def environment(self, section: str) -> dict[str, str]:
        """Return the environment of the server: the variables of the section."""
        variables = dict(re.findall(r"^export (\w+)=(.*)$", self.adapt(find_block(section, "sh")), re.MULTILINE))
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE_FOLDER), "HOME": str(self.folder), **variables}

    def command(self, section: str) -> list[str]:
        """Return the command that starts the server: the last line of the section's first block."""
        program, *arguments = shlex.split(self.adapt(find_block(section, "sh").splitlines()[-1]))
        return [sys.executable, "-m", program, *arguments]

    def prepare(self, environment: Mapping[str, str], *, account: str | None = None) -> None:
        """Create the database and a client."""
        self.run(environment, "init")
        client = ["clients", "create", "--name", "Robot", "--policy", "machine", "--scope", "profile", "--json"]
        self.client = json.loads(self.run(environment, *client))
        if account is not None:
            owner = pwd.getpwnam(account)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def run(self, environment: Mapping[str, str], *arguments: str) -> str:
        command = [sys.executable, "-m", "valetkey", "--app", "app.py", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], *, name: str, run_as: str | None = None
    ) -> None:
        program = Program(
            command,
            log=self.folder / f"{name}.log",
            is_ready=lambda: True,
            environment=environment,
            cwd=self.folder,
            run_as=run_as,
        )
        self.programs.callback(program.kill)

    def start_nginx(self, section: str) -> None:
        configuration = self.folder / "nginx.conf"
        server = self.adapt(find_block(section, "nginx"))
        configuration.write_text(_NGINX.format(folder=self.folder, server=server))
        nginx = find_program(["nginx", "/usr/sbin/nginx"], package="nginx-light")
        arguments = ["-e", str(self.folder / "nginx-error.log"), "-p", str(self.folder), "-c", str(configuration)]
        self.start([nginx, *arguments], {"PATH": os.environ["PATH"]}, name="nginx")

    def send(self, method: str, path: str, *, port: int | None = None, **options: object) -> httpx.Response:
        """Send a request to the proxy as to the public host."""
        url = f"https://127.0.0.1:{self.port}{path}" if port is None else f"http://127.0.0.1:{port}{path}"
        return self.http.request(method, url, extensions={"sni_hostname": HOST}, **options)  # type: ignore[arg-type]

    @property
    def log(self) -> str:
        """All output and logs of the servers so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def check(self, *, port: int | None = None, address: str | None = CALLER) -> None:
        """Check metadata, pages, a token, a call with it, and which address of the caller the server logs.

        :param port: port of the server if there is no proxy.
        """
        metadata_path = f"/.well-known/oauth-authorization-server{self.path}"
        issuer = f"https://{HOST}{self.path}"
        response = self._wait_for(metadata_path, port)
        assert response.json()["issuer"] == issuer
        sign_in = self.send("GET", f"{self.path}/account/sign-in", port=port)
        assert sign_in.is_success and f"{self.path}/account/sign-up?next=" in sign_in.text
        auth = (self.client["client_id"], self.client["client_secret"])
        form = {"grant_type": "client_credentials", "scope": "profile"}
        token = self.send("POST", f"{self.path}/oauth/token", port=port, data=form, auth=auth)
        assert token.is_success, token.text
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        call = self.send("GET", f"{self.path}/api/protected", port=port, headers=headers)
        assert call.json() == {"user": None, "client": self.client["client_id"]}
        spoofed = {"Authorization": "Bearer wrong", "X-Forwarded-For": "203.0.113.9"}
        refused = self.send("GET", f"{self.path}/api/protected", port=port, headers=spoofed)
        assert (refused.status_code, "resource_metadata" in refused.headers["WWW-Authenticate"]) == (401, True)
        if address is not None:
            assert f"network={address}" in self.log
            assert "203.0.113.9" not in self.log
        assert "Traceback" not in self.log

    def _wait_for(self, path: str, port: int | None) -> httpx.Response:
        deadline = time.monotonic() + 90
        while True:
            try:
                if (response := self.send("GET", path, port=port)).is_success:
                    return response
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log
            time.sleep(0.2)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(getattr(request, "param", ""))
    try:
        yield site
    finally:
        site.close()


@pytest.mark.parametrize(
    ("site", "section"),
    [
        ("", "nginx with TLS and gunicorn"),
        ("", "nginx and gunicorn on a Unix socket"),
        ("/shop", "nginx with a path prefix"),
    ],
    indirect=["site"],
)
def test_the_recipes_for_nginx_and_gunicorn_serve_tokens_pages_and_protected_routes(section: str, site: Site) -> None:
    environment = site.environment(section)
    site.prepare(environment)
    site.start(site.command(section), environment, name="gunicorn")
    site.start_nginx(section)

    site.check()


def test_without_unix_in_trusted_proxies_the_log_says_that_all_callers_share_one_limit(site: Site) -> None:
    section = "nginx and gunicorn on a Unix socket"
    environment = {**site.environment(section), "VALETKEY_TRUSTED_PROXIES": ""}
    site.prepare(environment)
    site.start(site.command(section), environment, name="gunicorn")
    site.start_nginx(section)

    site.check(address=None)

    assert "add 'unix' to trusted_proxies" in site.log


def test_with_proxyfix_the_log_has_the_addresses_of_callers_without_trusted_proxies(site: Site) -> None:
    section = "nginx with TLS and gunicorn"
    (site.folder / "public.py").write_text(find_block(section, "python"))
    environment = {**site.environment(section), "VALETKEY_TRUSTED_PROXIES": ""}
    site.prepare(environment)
    command = [word.replace("app:app", "public:app") for word in site.command(section)]
    site.start(command, environment, name="gunicorn")
    site.start_nginx(section)

    site.check()


def test_the_recipe_for_uwsgi_serves_large_headers_and_loads_the_app_in_each_process(site: Site) -> None:
    environment = site.environment("uWSGI")
    site.prepare(environment)
    with (site.folder / "app.py").open("a") as app_file:
        app_file.write("\nimport os\nos.system('echo $PPID >> loaded')\n")
    (site.folder / "uwsgi.ini").write_text(site.adapt(find_block("uWSGI", "ini")))
    program = find_program(["uwsgi"], package="uwsgi uwsgi-plugin-python3")
    debian = ["--plugin", "python3", *(f"--pythonpath={path}" for path in (SOURCE_FOLDER, SITE_PACKAGES))]
    site.start([program, *debian, "--ini", "uwsgi.ini"], environment, name="uwsgi-server")
    site.start_nginx("nginx with TLS and gunicorn")

    site.check()

    path, cookie = "/.well-known/oauth-authorization-server", {"Cookie": "host=" + "a" * 8000}
    assert site.send("GET", path, headers=cookie).is_success
    deadline = time.monotonic() + 30
    while len(processes := (site.folder / "loaded").read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(set(processes)) == 2  # each process has loaded the app


@pytest.mark.skipif(
    any(MOD_WSGI.parent.glob("mod_wsgi.so-*")) and not MOD_WSGI.exists(),
    reason="Debian's mod_wsgi runs another version of Python",
)
def test_the_recipe_for_apache_serves_tokens_pages_and_protected_routes(site: Site) -> None:
    section = "Apache with mod_wsgi"
    (site.folder / "wsgi.py").write_text(site.adapt(find_block(section, "python")))
    host = site.adapt(find_block(section, "apache"))
    configuration = site.folder / "apache.conf"
    configuration.write_text(_APACHE.format(folder=site.folder, port=site.port, host=host))
    account = None if os.geteuid() else "www-data"  # as root, Apache refuses to serve
    issuer = {"VALETKEY_ISSUER": f"https://{HOST}"}
    site.prepare({"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE_FOLDER), **issuer}, account=account)
    apache = find_program(["apache2", "/usr/sbin/apache2"], package="apache2")
    arguments = ["-f", str(configuration), "-DFOREGROUND"]
    site.start([apache, *arguments], {"PATH": os.environ["PATH"], "LANG": "C"}, name="apache", run_as=account)

    site.check()


def test_the_recipe_for_caddy_serves_tokens_pages_and_protected_routes(site: Site) -> None:
    environment = site.environment("Caddy")
    site.prepare(environment)
    command = site.command("Caddy")
    site.start([*command, "--port", str(site.upstream_port)], environment, name="valetkey")
    block = site.adapt(find_block("Caddy", "caddy"))
    block = block.replace(f"{HOST} {{", f"https://{HOST}:{site.port} {{\n    tls internal")  # no public certificate
    (site.folder / "Caddyfile").write_text(_CADDY.format(folder=site.folder, site=block))
    caddy = find_program(["caddy"], package="caddy")
    site.start([caddy, "run", "--config", "Caddyfile", "--adapter", "caddyfile"], environment, name="caddy")

    site.check()


@pytest.mark.parametrize("server", ["valetkey", "gunicorn"])
def test_the_recipe_for_systemd_is_valid_and_serves_tokens_pages_and_protected_routes(server: str, site: Site) -> None:
    unit, text = site.folder / "shop.service", find_block("systemd", "systemd")
    if server == "gunicorn":
        text = re.sub(r"^ExecStart=.*\n", find_block("systemd", "systemd", 1), text, flags=re.MULTILINE)
    unit.write_text(site.adapt(text))
    find_program(["systemd-analyze"], package="systemd")
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")

    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE_FOLDER)}
    environment |= {"VALETKEY_ISSUER": f"https://{HOST}", "VALETKEY_DATA_DIR": str(site.folder / "var")}
    site.prepare(environment)
    (command,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    site.start(shlex.split(command), environment, name="server")

    site.check(port=site.upstream_port)
