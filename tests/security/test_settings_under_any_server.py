"""Under any WSGI server, settings come from the environment, and the built-in default issuer allows nothing public."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.support.user import CALLBACK, EMAIL, PASSWORD, User
from tests.support.wsgi_servers import PLAIN_APP, SERVERS, SOURCE_FOLDER, ServedApp, nginx_before, served_app

APP_BEHIND_PROXYFIX = f"""
from werkzeug.middleware.proxy_fix import ProxyFix
{PLAIN_APP}
app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)
"""
METADATA = "/.well-known/oauth-authorization-server"
PUBLIC_HOST = "api.example.com"
OWN_PATHS = (METADATA, "/account", "/account/sign-in", "/account/sign-up", "/docs", "/oauth/authorize?client_id=a")
CLIENT = {"redirect_uris": ["https://evil.example/callback"], "client_name": "A stranger's app"}


@pytest.fixture(scope="module", params=[*SERVERS])
def server_with_default_issuer(request: pytest.FixtureRequest) -> Iterator[ServedApp]:
    with served_app(request.param, PLAIN_APP, {}) as server:
        yield server


def test_with_the_default_issuer_requests_to_a_public_host_are_refused_and_nothing_is_written(
    server_with_default_issuer: ServedApp,
) -> None:
    server = server_with_default_issuer
    assert server.files == set()
    for path in (*OWN_PATHS, "/api/protected"):
        response = server.get(path, host=PUBLIC_HOST)
        assert (response.status_code, "VALETKEY_ISSUER" in response.text) == (421, True), path
        assert "Set-Cookie" not in response.headers
    assert server.post("/oauth/register", host=PUBLIC_HOST, **CLIENT).status_code == 421
    assert server.get("/host/view", host=PUBLIC_HOST).text == "the host's own"
    assert server.files == set()
    assert server.log.count("and refused with status 421: the issuer of this server is not set") == 1

    assert server.get(METADATA).json()["issuer"] == "http://127.0.0.1:8000"
    assert server.get("/account/sign-in").is_success


def test_with_the_default_issuer_a_stranger_behind_a_local_proxy_cannot_register_a_client(
    server_with_default_issuer: ServedApp,
) -> None:
    response = server_with_default_issuer.post("/oauth/register", **CLIENT)

    assert response.status_code in {401, 403}
    assert "registration" in response.text or "token" in response.text


@pytest.mark.parametrize("server", [*SERVERS])
def test_the_environment_counts_and_every_host_is_served(server: str) -> None:
    variables = {"VALETKEY_ISSUER": "https://id.example.com", "VALETKEY_DATA_DIR": "store"}
    with served_app(server, PLAIN_APP, variables) as app:
        for host in (PUBLIC_HOST, "id.example.com", "10.0.0.5:8000", "127.0.0.1"):
            metadata = app.get(METADATA, host=host)
            assert {metadata.json()["issuer"]} == {"https://id.example.com"}
            assert "api.example" not in metadata.text
            assert app.get("/api/protected", host=host).status_code == 401
        assert app.post("/oauth/register", host="id.example.com", **CLIENT).status_code in {401, 403}
        assert app.get("/account/sign-in", host=PUBLIC_HOST).is_success

        assert app.files == {"store"}
        assert app.log.count("a request was sent to the host 'api.example.com'") == 1
        assert app.log.count("a request was sent to the host") == 1


def test_check_in_the_same_shell_examines_what_gunicorn_serves() -> None:
    variables = {"VALETKEY_ISSUER": "https://id.example.com", "VALETKEY_DATA_DIR": "store"}
    with served_app("gunicorn", PLAIN_APP, variables) as app:
        issuer = app.get(METADATA).json()["issuer"]

        assert f"Ready to serve as {issuer}" in run_check(app.folder, variables)


def test_check_does_not_take_the_issuer_of_the_last_valetkey_serve(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PLAIN_APP)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "issuer").write_text("https://old.example.com\n")

    output = run_check(tmp_path, {})

    assert "advice:  issuer is not set" in output
    assert "Ready to serve as http://127.0.0.1:8000" in output


@pytest.mark.parametrize(
    ("headers", "app", "status"),
    [
        (["Host $host"], PLAIN_APP, 421),
        (["X-Forwarded-Host $host"], PLAIN_APP, 421),  # the Host is that of the upstream server, a loopback address
        (["X-Forwarded-Host $host"], APP_BEHIND_PROXYFIX, 421),
        (["X-Forwarded-Host 127.0.0.1", "Host $host"], PLAIN_APP, 421),
        (["X-Forwarded-Host 127.0.0.1", "Host $host"], APP_BEHIND_PROXYFIX, 200),
    ],
)
def test_behind_nginx_the_public_host_is_refused_without_an_issuer(headers: list[str], app: str, status: int) -> None:
    with served_app("gunicorn", app, {}) as server, nginx_before(server, *headers) as nginx:
        assert nginx.get(METADATA, host=PUBLIC_HOST).status_code == status
        assert nginx.get("/host/view", host=PUBLIC_HOST).is_success


def test_behind_nginx_a_trusted_proxy_decides_the_host() -> None:
    variables = {"VALETKEY_TRUSTED_PROXIES": "127.0.0.1/32"}
    headers = ("X-Forwarded-Host $host", "Host app.internal")
    with served_app("gunicorn", PLAIN_APP, variables) as server, nginx_before(server, *headers) as nginx:
        assert nginx.get(METADATA, host=PUBLIC_HOST).status_code == 421
        assert nginx.get(METADATA, host="localhost").status_code == 200
        assert server.get(METADATA, host="app.internal").status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_sign_in_consent_and_an_api_call_work_under_flask_run_with_the_default_issuer(host: str) -> None:
    with served_app("flask run", PLAIN_APP, {}) as server, User(EMAIL, PASSWORD) as maya:
        url = server.url.replace("127.0.0.1", host)
        maya.sign_up(f"{url}/account/sign-up", name="Maya")
        arguments = ["--name", "Shop", "--policy", "web", "--redirect-uri", CALLBACK, "--scope", "profile", "--json"]
        client = json.loads(run_valetkey(server.folder, {}, "clients", "create", *arguments))
        verifier = secrets.token_urlsafe(43)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = {"client_id": client["client_id"], "redirect_uri": CALLBACK, "scope": "profile"}
        request |= {"response_type": "code", "code_challenge": challenge, "code_challenge_method": "S256"}
        callback = httpx.URL(maya.allow(f"{url}/oauth/authorize?{urlencode(request)}"))
        body = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": verifier}
        credentials = (client["client_id"], client["client_secret"])
        token = httpx.post(f"{url}/oauth/token", data=body | {"code": callback.params["code"]}, auth=credentials).json()
        header = {"Authorization": f"Bearer {token['access_token']}"}

        assert callback.params["iss"] == "http://127.0.0.1:8000"
        assert httpx.get(f"{url}/api/protected", headers=header).text == "protected"
        assert "set VALETKEY_ISSUER to its URL" in server.log


def test_an_unknown_variable_is_logged_without_its_value_and_check_fails(tmp_path: Path) -> None:
    variables = {"VALETKEY_ISUER": "https://hidden.example.com", "VALETKEY_PORT": "tcp://10.0.0.1:80"}
    with served_app("gunicorn", PLAIN_APP, variables) as server:
        assert "VALETKEY_ISUER: unknown setting; did you mean VALETKEY_ISSUER?" in server.log
        assert "hidden" not in server.log and "VALETKEY_PORT" not in server.log

    (tmp_path / "app.py").write_text(PLAIN_APP)
    assert "problem: VALETKEY_ISUER: unknown setting" in run_check(tmp_path, variables, status=1)


def test_the_default_issuer_reads_no_remote_loopback_document(tmp_path: Path) -> None:
    with served_app("gunicorn", PLAIN_APP, {}) as server:
        query = "client_id=http://127.0.0.1:9/client.json&redirect_uri=http://127.0.0.1:9/cb&response_type=code"
        assert server.get(f"/oauth/authorize?{query}").status_code == 400
        with sqlite3.connect(server.folder / "var" / "valetkey.db") as database:
            clients = database.execute("SELECT count(*) FROM valetkey_clients WHERE client_id LIKE 'http%'").fetchone()
    assert clients == (0,)


def run_check(folder: Path, variables: Mapping[str, str], *, status: int = 0) -> str:
    """Run ``valetkey check`` for the app in a folder and return its output."""
    return run_valetkey(folder, variables, "check", status=status)


def run_valetkey(folder: Path, variables: Mapping[str, str], *arguments: str, status: int = 0) -> str:
    """Run a command of ``valetkey`` for the app in a folder and return its standard output."""
    process = subprocess.run(
        [sys.executable, "-m", "valetkey", "--app", "app.py", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(SOURCE_FOLDER), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == status, process.stdout + process.stderr
    return process.stdout
