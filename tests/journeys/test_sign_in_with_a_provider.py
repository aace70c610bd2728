"""The quickstart's ``/login`` and ``/authorize``: sign-in with an OpenID Provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fixtures import StartProvider
from tests.support.openid_provider import OpenIDProvider
from tests.support.program import free_port
from tests.support.valetkey_server import Deployment, RunningServer

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "app.py"


@pytest.fixture(autouse=True)
def _unset_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> int:
    """The port of the quickstart, which is part of its redirect URI at the provider."""
    return free_port()


@pytest.fixture
def provider(start_openid_provider: StartProvider, port: int, monkeypatch: pytest.MonkeyPatch) -> OpenIDProvider:
    """A provider at which the quickstart is registered, and which the environment names."""
    started = start_openid_provider(f"http://127.0.0.1:{port}/authorize")
    monkeypatch.setenv("OIDC_ISSUER", started.issuer)
    monkeypatch.setenv("OIDC_CLIENT_ID", started.client_id)
    monkeypatch.setenv("OIDC_CLIENT_SECRET", started.client_secret)
    return started


@pytest.fixture
def server(provider: OpenIDProvider, port: int, tmp_path: Path) -> Iterator[RunningServer]:
    """The quickstart with two workers, which share its sessions."""
    with RunningServer(Deployment(tmp_path, app=QUICKSTART, port=port), workers=2) as running:
        yield running


def test_after_sign_in_at_the_provider_the_app_returns_the_userinfo(
    provider: OpenIDProvider, server: RunningServer
) -> None:
    with httpx.Client(timeout=20) as browser:
        response = provider.sign_in(browser, f"{server.url}/login", login="maya")
    assert response.headers["Content-Type"] == "application/json"
    assert (response.json()["sub"], response.json()["email"]) == ("maya", "maya@example.com")
    assert provider.client_secret not in server.log


def test_an_authorization_response_without_a_request_is_refused_without_a_traceback(server: RunningServer) -> None:
    for query in ("code=stolen&state=unknown", "error=access_denied&state=unknown", ""):
        response = httpx.get(f"{server.url}/authorize?{query}")
        assert response.status_code == 400, response.text
        assert response.headers["Content-Type"] == "application/json"
    assert "Traceback" not in server.log


def test_without_a_provider_the_login_page_names_the_missing_variables(tmp_path: Path) -> None:
    with RunningServer(Deployment(tmp_path, app=QUICKSTART)) as server:
        response = httpx.get(f"{server.url}/login")
    assert response.status_code == 200
    assert all(name in response.text for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"))
