"""Customizations of a host app that Flask must see in each request, also if they are added after the first one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
import pytest
from flask import Flask, Response
from flask.sessions import SecureCookieSessionInterface
from werkzeug.routing import Map

import valetkey
from valetkey.api_helpers.body_size import limit_bodies


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
        "the before_request function tests.support.flask_customizations.HookWithoutHash",
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
