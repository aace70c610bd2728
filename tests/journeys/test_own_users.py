"""A host with its own users: ``resource_owner=`` as an object, and as a function."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask import Flask, jsonify, redirect, request, session
from flask.testing import FlaskClient
from flask.typing import ResponseReturnValue

from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.program import free_port
from tests.support.revocation import assert_revoked_within_one_second
from tests.support.user import User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey import Valetkey, current_token, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.pkce import s256

OWN_USERS = Path(__file__).parents[2] / "examples" / "own_users" / "app.py"
CALLBACK = "http://127.0.0.1:9/callback"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server of ``examples/own_users`` with two workers."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'people.db'}")
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with RunningServer(Deployment(tmp_path, app=OWN_USERS, port=free_port()), workers=2) as running:
        yield running


def test_users_sign_in_at_the_host_and_allow_apps_at_valetkey(server: RunningServer) -> None:
    with User("maya@example.com", "a violet tram in june") as maya, ThirdPartyApp() as app:
        app.credentials = server.deployment.create_client("web", name="Sunflower", redirect_uris=[app.redirect_uri])
        maya.sign_up(f"{server.url}/join", name="Maya")
        maya.cookies.clear()  # so that she has to sign in at the host

        tokens = app.redeem(maya.allow(app.start_authorization(server.metadata, scope="profile")))

        assert app.call(f"{server.url}/api/me", tokens["access_token"]).json() == {"name": "Maya"}
        assert "Sunflower" in maya.get_page(f"{server.url}/account").text
        refreshed = app.refresh(tokens["refresh_token"]).json()
        assert app.call(f"{server.url}/api/me", refreshed["access_token"]).status_code == 200

        maya.press(maya.get_page(f"{server.url}/"), "leave")

        assert app.refresh(refreshed["refresh_token"]).json()["error"] == "invalid_grant"
        url, access_token = f"{server.url}/api/me", refreshed["access_token"]
        # 20 calls, so that both workers respond
        assert_revoked_within_one_second(lambda: [app.call(url, access_token).status_code for _ in range(20)])


def test_valetkey_has_no_sign_in_page_if_the_host_has_one(server: RunningServer) -> None:
    with User("maya@example.com", "a violet tram in june") as maya:
        for page in ("sign-in", "sign-up"):
            assert maya.get_page(f"{server.url}/account/{page}").status_code == 404
        assert str(maya.get_page(f"{server.url}/account").url) == f"{server.url}/login?next=/account"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Flask]:
    """A host whose ``resource_owner`` is a function that returns the signed-in user."""
    app = Flask("host")
    app.secret_key = "of the test"
    Valetkey(
        app,
        resource_owner=lambda: session.get("user"),
        sign_in_url="/login",
        scopes={"profile": "See your name"},
        data_dir=str(tmp_path),
        embedded_worker=False,
    )

    @app.get("/login")
    def login() -> ResponseReturnValue:
        session["user"] = "maya"
        return redirect(request.args["next"])

    @app.get("/api/me")
    @require_oauth("profile")
    def me() -> ResponseReturnValue:
        return jsonify(user=current_token.user_id)

    runtime = app.extensions["valetkey"]
    runtime.get_ready()
    yield app
    runtime.close()


def test_a_function_that_returns_the_signed_in_user_is_enough(host: Flask) -> None:
    browser = host.test_client()
    page = browser.get(_authorization_url(host), follow_redirects=True)
    assert any("/login" in str(response.location) for response in page.history)  # redirected to the host's sign-in

    form = {**_csrf_field(page.text), "scope": "profile", "decision": "allow"}
    allowed = browser.post(page.request.path, data=form)
    tokens = _redeem(host.test_client(), dict(parse_qsl(urlsplit(allowed.location).query))["code"], host)

    response = host.test_client().get("/api/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert response.json == {"user": "maya"}


def test_without_a_sign_in_url_the_account_page_is_refused_instead_of_a_redirect(tmp_path: Path) -> None:
    host = Flask("host")
    Valetkey(host, resource_owner=lambda: None, data_dir=str(tmp_path), embedded_worker=False)
    response = host.test_client().get("/account")
    host.extensions["valetkey"].close()
    assert response.status_code == 400
    assert "Sign in to the site first" in response.text


def _authorization_url(host: Flask) -> str:
    """Register a client and return the URL of its authorization request."""
    client = register_client(
        host.extensions["valetkey"],
        host.extensions["valetkey"].clock(),
        name="Sunflower",
        policy="browser",
        redirect_uris=[CALLBACK],
    )
    host.config["CLIENT_ID"] = client.client_id
    parameters = {
        "response_type": "code",
        "client_id": client.client_id,
        "scope": "profile",
        "code_challenge": s256("v" * 43),
        "code_challenge_method": "S256",
    }
    return f"/oauth/authorize?{urlencode(parameters)}"


def _redeem(client: FlaskClient, code: str, host: Flask) -> dict[str, Any]:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43}
    response = client.post("/oauth/token", data={**form, "client_id": host.config["CLIENT_ID"]})
    assert response.status_code == 200, response.text
    return dict(response.json or {})


def _csrf_field(page: str) -> dict[str, str]:
    """Return the hidden field of a form with its value."""
    match = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert match, page
    return {"csrf_token": match[1]}
