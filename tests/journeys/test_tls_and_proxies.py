"""TLS in the server, and a server behind a reverse proxy that terminates TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.third_party_app import ThirdPartyApp
from tests.journeys.tls_proxy import CLIENT_ADDRESS, TlsProxy
from tests.support.program import Program
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import METADATA_PATH, SCOPES, Deployment, RunningServer
from valetkey.cli.certificate import ensure_self_signed_certificate


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a browser that ignores certificate errors."""
    with browser.new_context(ignore_https_errors=True) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A database with Maya's account. Each test starts a server on it with other settings."""
    deployment = Deployment(tmp_path_factory.mktemp("proxies"))
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    return deployment


@pytest.fixture
def app(deployment: Deployment) -> Iterator[ThirdPartyApp]:
    """A registered app."""
    with ThirdPartyApp() as third_party_app:
        third_party_app.credentials = deployment.create_client(
            "web", name="Sunflower", scope="profile email", redirect_uris=[third_party_app.redirect_uri]
        )
        yield third_party_app


def test_tls_self_signed_serves_everything_over_https(tmp_path: Path, page: Page) -> None:
    deployment = Deployment(tmp_path)
    issuer = f"https://127.0.0.1:{deployment.port}"

    with _served_with_tls(deployment, issuer):
        ssl_context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        metadata = httpx.get(f"{issuer}{METADATA_PATH}", verify=ssl_context).json()
        assert metadata["issuer"] == issuer
        assert metadata["token_endpoint"].startswith(f"{issuer}/")

        page.goto(f"{issuer}/account/sign-up")
        page.get_by_label("Name").fill("Maya")
        page.get_by_label("E-mail address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        with page.expect_response(f"{issuer}/account") as account:
            page.click("#sign-up")
        expect(page.get_by_role("heading", name="Your account")).to_be_visible()

    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    names = {name.removeprefix("__Host-").rpartition("_")[0] for name in cookies}  # they end with a hash of the port
    assert names == {"valetkey_browser", "valetkey_session"}
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies.values())
    assert account.value.headers["strict-transport-security"] == "max-age=31536000"


def test_a_self_signed_certificate_is_replaced_only_if_it_lacks_a_name(tmp_path: Path) -> None:
    cert, key = ensure_self_signed_certificate(tmp_path, ["127.0.0.1"])
    first = cert.read_bytes()

    assert ensure_self_signed_certificate(tmp_path, ["localhost"])[0].read_bytes() == first
    second = ensure_self_signed_certificate(tmp_path, ["id.example"])[0].read_bytes()
    assert second != first
    assert ensure_self_signed_certificate(tmp_path, ["127.0.0.1"])[0].read_bytes() == second
    assert key.stat().st_mode & 0o777 == 0o600


def test_host_may_be_a_host_name(tmp_path: Path) -> None:
    with RunningServer(Deployment(tmp_path), options=("--host", "localhost")) as server:
        assert server.metadata["issuer"] == server.issuer


def test_behind_a_tls_proxy_the_whole_flow_uses_the_public_url(
    deployment: Deployment, app: ThirdPartyApp, tmp_path: Path, page: Page
) -> None:
    with TlsProxy(tmp_path, deployment.port) as proxy:
        public = replace(deployment, settings={"issuer": proxy.url, "trusted_proxies": "127.0.0.0/8", "scopes": SCOPES})
        app.verify = ssl.create_default_context(cafile=str(proxy.certificate))
        with RunningServer(public) as server:
            page.goto(app.start_authorization(server.metadata, scope="profile"))
            page.get_by_label("E-mail address").fill(EMAIL)
            page.get_by_label("Password").fill(PASSWORD)
            page.click("#sign-in")
            page.click("#allow")
            assert app.redeem(page.url)["scope"] == "profile"

            page.goto(f"{proxy.url}/account")
            expect(page.locator("dl", has_text="First allowed").get_by_text(CLIENT_ADDRESS)).to_be_visible()
    assert any(cookie["name"].startswith("__Host-valetkey_session") for cookie in page.context.cookies())


@pytest.mark.parametrize(
    ("trusted", "address"),
    [("", "127.0.0.1"), ("127.0.0.1/32", "198.51.100.9")],
    ids=["no trusted proxy", "a trusted proxy"],
)
def test_x_forwarded_for_is_used_only_if_it_comes_from_a_trusted_proxy(
    deployment: Deployment, app: ThirdPartyApp, trusted: str, address: str
) -> None:
    configured = replace(deployment, settings={"trusted_proxies": trusted, "scopes": SCOPES})
    with RunningServer(configured) as server, User(EMAIL, PASSWORD) as maya:
        maya.headers["X-Forwarded-For"] = "203.0.113.200, 198.51.100.9"
        maya.allow(app.start_authorization(server.metadata, scope="email profile"))
        assert address in maya.get_page(f"{server.url}/account").text


@contextmanager
def _served_with_tls(deployment: Deployment, issuer: str) -> Iterator[None]:
    """Run a server with ``--tls-self-signed`` and without the setting ``issuer``, so that the issuer is its own URL."""
    environment = {name: value for name, value in deployment.environment.items() if name != "VALETKEY_ISSUER"}
    server = Program(
        deployment.command("serve", "--port", str(deployment.port), "--tls-self-signed"),
        log=deployment.data_dir / "server.log",
        is_ready=lambda: _is_ready(issuer),
        environment=environment,
        cwd=deployment.data_dir,
    )
    try:
        yield
    finally:
        server.kill()


def _is_ready(issuer: str) -> bool:
    try:
        return httpx.get(f"{issuer}{METADATA_PATH}", verify=False).is_success  # the test verifies the certificate
    except httpx.TransportError:
        return False
