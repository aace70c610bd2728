"""The quickstart's ``/login`` and ``/authorize``: who signs in at an OpenID Provider is known to the app."""

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
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> int:
    """Where the quickstart is served, and so where the provider sends people back to."""
    return free_port()


@pytest.fixture
def provider(start_openid_provider: StartProvider, port: int, monkeypatch: pytest.MonkeyPatch) -> OpenIDProvider:
    """A provider that knows the quickstart, and is set in the environment."""
    started = start_openid_provider(f"http://127.0.0.1:{port}/authorize")
    monkeypatch.setenv("OIDC_ISSUER", started.issuer)
    monkeypatch.setenv("OIDC_CLIENT_ID", started.client_id)
    monkeypatch.setenv("OIDC_CLIENT_SECRET", started.client_secret)
    return started


@pytest.fixture
def server(provider: OpenIDProvider, port: int, tmp_path: Path) -> Iterator[RunningServer]:
    """The quickstart under two workers that share its sessions."""
    with RunningServer(Deployment(tmp_path, app=QUICKSTART, port=port), workers=2) as running:
        yield running


def test_who_signs_in_at_the_provider_gets_the_users_info_as_json(
    provider: OpenIDProvider, server: RunningServer
) -> None:
    with httpx.Client(timeout=20) as browser:
        answer = provider.sign_in(browser, f"{server.url}/login", login="maya")
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.json()["sub"], answer.json()["email"]) == ("maya", "maya@example.com")
    assert provider.client_secret not in server.log


def test_an_answer_that_was_not_asked_for_is_refused_without_a_traceback(server: RunningServer) -> None:
    for query in ("code=stolen&state=made-up", "error=access_denied&state=made-up", ""):
        answer = httpx.get(f"{server.url}/authorize?{query}")
        assert answer.status_code == 400, answer.text
        assert answer.headers["Content-Type"] == "application/json"
    assert "Traceback" not in server.log


def test_where_no_provider_is_set_the_page_says_what_to_set(tmp_path: Path) -> None:
    with RunningServer(Deployment(tmp_path, app=QUICKSTART)) as server:
        answer = httpx.get(f"{server.url}/login")
    assert answer.status_code == 200
    assert all(name in answer.text for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"))
