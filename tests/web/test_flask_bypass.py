"""What of the host app makes requests go through Flask: each customization is honored, also if it is added later."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, Response
from flask.sessions import SecureCookieSessionInterface
from werkzeug.routing import Map

import valetkey
from tests.support.app import ENCRYPTION_KEY, MakeApp
from valetkey import Owner, Valetkey
from valetkey.api_helpers.body_size import limit_bodies
from valetkey.cli.check import flask_notes
from valetkey.testing import mint_token
from valetkey.web.flask_bypass import BYPASS_EXTENSION


class OtherFlask(Flask):
    def full_dispatch_request(self) -> Any:
        return super().full_dispatch_request()


def add_hook(app: Flask, name: str, scope: str | None = None) -> None:
    """Add a function of the host as one of Flask's hooks, as it may be added after the first request, too."""
    getattr(app, name).setdefault(scope, []).append(lambda *_: _[0] if name == "after_request_funcs" else None)


CUSTOMIZATIONS: dict[str, tuple[Callable[[Flask, pytest.MonkeyPatch], object], str]] = {
    "before_request": (lambda app, _: add_hook(app, "before_request_funcs"), "the before_request function"),
    "after_request": (lambda app, _: add_hook(app, "after_request_funcs"), "the after_request function"),
    "teardown_request": (lambda app, _: add_hook(app, "teardown_request_funcs"), "the teardown_request function"),
    "url_value_preprocessor": (
        lambda app, _: add_hook(app, "url_value_preprocessors"),
        "the url_value_preprocessor function",
    ),
    "teardown_appcontext": (
        lambda app, _: app.teardown_appcontext_funcs.append(lambda _: None),
        "the teardown_appcontext function",
    ),
    "hook without a hash": (
        lambda app, _: app.before_request_funcs[None].append(HookWithoutHash()),
        "the before_request function tests.web.test_flask_bypass.HookWithoutHash",
    ),
    "hook of Valetkey's blueprint": (
        lambda app, _: add_hook(app, "before_request_funcs", "valetkey_machines"),
        "the before_request function",
    ),
    "limit_bodies": (lambda app, _: app.before_request_funcs[None].append(limit_all(app)), "valetkey.api_helpers"),
    "request_started": (lambda app, patch: connect(flask.request_started, app, patch), "the signal request-started"),
    "request_finished": (lambda app, patch: connect(flask.request_finished, app, patch), "request-finished"),
    "request_tearing_down": (lambda app, patch: connect(flask.request_tearing_down, app, patch), "tearing-down"),
    "appcontext_pushed": (lambda app, patch: connect(flask.appcontext_pushed, app, patch), "appcontext-pushed"),
    "TRUSTED_HOSTS": (lambda app, _: app.config.update(TRUSTED_HOSTS=["localhost"]), "TRUSTED_HOSTS"),
    "SERVER_NAME": (lambda app, _: app.config.update(SERVER_NAME="localhost"), "SERVER_NAME"),
    "another class": (lambda app, patch: patch.setattr(app, "__class__", OtherFlask), "method full_dispatch_request"),
    "replaced on the class": (
        lambda app, patch: patch.setattr(Flask, "process_response", lambda _self, response: response),
        "method process_response",
    ),
    "replaced dispatch_request": (
        lambda app, patch: patch.setattr(app, "dispatch_request", lambda: Response("mine")),
        "method dispatch_request",
    ),
    "replaced make_response": (
        lambda app, patch: patch.setattr(app, "make_response", lambda rv: Response("mine")),
        "method make_response",
    ),
    "request_class": (
        lambda app, patch: patch.setattr(app, "request_class", type("Other", (flask.Request,), {})),
        "the request_class Other",
    ),
    "response_class": (
        lambda app, patch: patch.setattr(app, "response_class", type("Other", (Response,), {})),
        "the response_class Other",
    ),
    "session_interface": (
        lambda app, patch: patch.setattr(app, "session_interface", OtherSessions()),
        "the session_interface OtherSessions",
    ),
    "method of the session_interface": (
        lambda app, patch: patch.setattr(app.session_interface, "save_session", lambda *_: None),
        "method of the session_interface",
    ),
    "method of a class in the package flask_other": (
        lambda app, patch: patch.setattr(app, "__class__", load_flask_subclass(f"{flask.__path__[0]}_other")),
        "method process_response",
    ),
    "method of a class in the package valetkey_other": (
        lambda app, patch: patch.setattr(app, "__class__", load_flask_subclass(f"{valetkey.__path__[0]}_other")),
        "method process_response",
    ),
    "object around a method": (
        lambda app, patch: patch.setattr(app, "process_response", ObjectAroundMethod(app.process_response)),
        "method process_response",
    ),
    "another URL map": (
        lambda app, patch: patch.setattr(app.url_map, "__class__", type("OtherMap", (Map,), {})),
        "another url_map",
    ),
}


class OtherSessions(SecureCookieSessionInterface):
    pass


@dataclass
class HookWithoutHash:
    """A hook that is compared by its fields, so that it has no hash."""

    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1


class ObjectAroundMethod:
    """What monitoring tools put around a method: it has all attributes of the method, also ``__func__``."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __call__(self, *arguments: Any) -> Any:
        return self._method(*arguments)


def load_flask_subclass(folder: str) -> Any:
    """Return a subclass of Flask with a ``process_response`` that is defined in a file of a folder."""
    source = "class Other(Flask):\n    def process_response(self, response): return response"
    namespace: dict[str, Any] = {"Flask": Flask, "__name__": "other"}
    exec(compile(source, f"{folder}/app.py", "exec"), namespace)
    return namespace["Other"]


def limit_all(app: Flask) -> Any:
    """Return the hook that ``limit_bodies`` adds for the host."""
    other = Flask("other")
    limit_bodies(other, "", "1 MB")
    return other.before_request_funcs[None][0]


def connect(signal: Any, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "connected_in_test", receiver := (lambda _sender, **_: None), raising=False)
    signal.connect(receiver, app)


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
    assert re.search("handled by Flask, not before it, because of the before_request function tests.web", note)
    assert list(flask_notes(flask_app)) == []  # it has endpoints_bypass_flask=False


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

        def find(self, sub: str) -> Any:
            paths.append(flask.request.path if flask.has_request_context() else "none")
            return Owner(sub)

    app = make_app(sqlite_store_url, resource_owner=Users())
    token = mint_token(app, "openid", user_id="ada")
    paths.clear()
    client = app.test_client()
    for _ in range(2):
        client.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})

    assert paths and set(paths) == {"/oauth/userinfo"}
