"""What of the host app makes requests go through Flask: each customization is honored, also if it is added later."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, Response
from flask_login import LoginManager
from flask_wtf import CSRFProtect

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.flask_customizations import CUSTOMIZATIONS, add_hook
from valetkey import Owner, Valetkey
from valetkey.cli.app_checks import flask_notes
from valetkey.testing import mint_token
from valetkey.web.flask_bypass import BYPASS_EXTENSION


@pytest.mark.parametrize(("customize", "reason"), CUSTOMIZATIONS.values(), ids=CUSTOMIZATIONS)
def test_a_customization_that_is_added_later_is_honored_and_named(
    bypass_app: Flask,
    in_flask: list[str],
    monkeypatch: pytest.MonkeyPatch,
    customize: Callable[[Flask, pytest.MonkeyPatch], object],
    reason: str,
) -> None:
    client, bypass = bypass_app.test_client(), bypass_app.extensions[BYPASS_EXTENSION]
    client.get("/oauth/jwks")
    assert (in_flask, bypass.list_reasons()) == ([], [])

    customize(bypass_app, monkeypatch)

    with suppress(Exception):  # some of them make the app useless
        client.get("/oauth/jwks", base_url="http://localhost")
    assert in_flask or client.get("/oauth/jwks").text == "mine"
    assert any(reason in named for named in bypass.list_reasons()), bypass.list_reasons()


def test_check_names_what_makes_requests_go_through_flask(bypass_app: Flask, flask_app: Flask) -> None:
    assert list(flask_notes(bypass_app)) == []

    add_hook(bypass_app, "before_request_funcs")
    add_hook(flask_app, "before_request_funcs")

    (note,) = flask_notes(bypass_app)
    assert re.search("pass through Flask, which is slower, because of the before_request function tests.support", note)
    assert list(flask_notes(flask_app)) == []  # it has endpoints_bypass_flask=False


class OtherLogin(LoginManager):
    def _update_remember_cookie(self, response: Response) -> Response:
        return response


class OtherProtection(CSRFProtect):
    def protect(self, *_: Any, **__: Any) -> None: ...


def refresh_cookies(app: Flask) -> None:
    app.config["REMEMBER_COOKIE_REFRESH_EACH_REQUEST"] = True


EXTENSIONS: dict[str, tuple[list[Callable[[Flask], object]], bool]] = {  # what is added, and whether Flask is needed
    "Flask-Login and CSRFProtect": ([LoginManager, CSRFProtect], False),
    "REMEMBER_COOKIE_REFRESH_EACH_REQUEST": ([refresh_cookies, LoginManager], True),
    "a subclass of LoginManager": ([OtherLogin], True),
    "a subclass of CSRFProtect": ([OtherProtection], True),
    "two objects CSRFProtect": ([CSRFProtect, CSRFProtect], True),
}


@pytest.mark.parametrize(("extensions", "needs_flask"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_hooks_of_extensions_that_do_nothing_for_the_endpoints_are_no_reason(
    make_app: MakeApp,
    sqlite_store_url: str,
    in_flask: list[str],
    extensions: list[Callable[[Flask], object]],
    needs_flask: bool,
) -> None:
    app = make_app(sqlite_store_url)
    app.secret_key = "secret"
    for add in extensions:
        add(app)
    client = app.test_client()
    client.get("/oauth/jwks")  # Flask handles the first request, with the checks before it
    in_flask.clear()

    response = client.post("/oauth/token", data={"grant_type": "client_credentials"})
    assert response.status_code == 401 or extensions == [CSRFProtect, CSRFProtect]  # the first one knows no exemptions
    assert bool(in_flask) is needs_flask
    assert bool(list(flask_notes(app))) is needs_flask


def test_a_replaced_csrf_protection_is_called(make_app: MakeApp, sqlite_store_url: str, in_flask: list[str]) -> None:
    app = make_app(sqlite_store_url)
    app.secret_key = "secret"
    csrf = CSRFProtect(app)
    csrf.protect = lambda **_: None
    client = app.test_client()
    client.get("/oauth/jwks")
    in_flask.clear()

    client.get("/oauth/jwks")
    assert in_flask


@pytest.mark.parametrize("status", [404, 500])
def test_error_handlers_keep_no_request_from_the_way_before_flask(
    make_app: MakeApp, sqlite_store_url: str, in_flask: list[str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """They are called nevertheless: Flask handles a request whose endpoint fails."""
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(status, lambda error: (f"handled {error.original_exception}", status))
    client = app.test_client()
    client.get("/oauth/jwks")
    in_flask.clear()
    assert client.get("/oauth/jwks").status_code == 200
    assert in_flask == []

    monkeypatch.setattr("valetkey.web.endpoint_adapters.dispatch", fail_unexpectedly)

    assert ("handled" in client.get("/oauth/jwks").text) == (status == 500)


def fail_unexpectedly(*_: Any) -> Any:
    raise RuntimeError("the drawer is stuck")


def test_a_replaced_view_is_called(bypass_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bypass_app.view_functions, "valetkey_machines.jwks", lambda: "mine")

    assert bypass_app.test_client().get("/oauth/jwks").text == "mine"


def test_a_session_of_the_host_is_renewed(bypass_app: Flask) -> None:
    """Flask sends the cookie of a permanent session again with each response."""
    client = bypass_app.test_client()
    bypass_app.secret_key = "secret"
    with client.session_transaction() as session:
        session.permanent = True
        session["x"] = 1

    assert "session=" in client.get("/oauth/jwks").headers["Set-Cookie"]


def test_the_session_cookie_is_recognized_after_it_was_renamed(bypass_app: Flask, in_flask: list[str]) -> None:
    bypass_app.config["SESSION_COOKIE_NAME"] = "basket"
    client = bypass_app.test_client(use_cookies=False)

    client.get("/oauth/jwks", headers={"Cookie": "session=1; other_basket=2"})
    assert in_flask == []
    client.get("/oauth/jwks", headers={"Cookie": "a=1; basket =2"})
    assert in_flask


def test_middleware_of_the_host_inside_of_valetkey_is_called(tmp_path: Path) -> None:
    app, paths = Flask("host"), []
    inner = app.wsgi_app

    def record(environ: Any, start_response: Any) -> Any:
        paths.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    app.wsgi_app = record  # type: ignore[method-assign]
    Valetkey(app, data_dir=str(tmp_path), env_prefix=None, encryption_keys=[ENCRYPTION_KEY], embedded_worker=False)
    for _ in range(2):
        app.test_client().post("/oauth/token")

    assert paths == ["/oauth/token", "/oauth/token"]
    assert "WSGI middleware" in app.extensions[BYPASS_EXTENSION].list_reasons()[0]


def test_code_of_the_host_sees_the_request(make_app: MakeApp, sqlite_store_url: str, in_flask: list[str]) -> None:
    """Its ``find`` is called at the userinfo endpoint, in a request context before Flask, too."""
    paths: list[str] = []

    class Users:
        def current(self) -> Any:
            return None

        def sign_in_url(self, next: str, **_: Any) -> str:
            return "/login"

        def find(self, sub: str) -> Any:
            paths.append(flask.request.path if flask.has_request_context() else "none")
            return Owner(sub)

        def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
            return {}

    app = make_app(sqlite_store_url, resource_owner=Users())
    token = mint_token(app, "openid", user_id="ada")
    paths.clear()
    client = app.test_client()
    for _ in range(2):
        client.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})

    assert paths and set(paths) == {"/oauth/userinfo"}
