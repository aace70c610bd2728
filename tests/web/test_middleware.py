"""The WSGI middleware of an app: one ordered list, which the host may wrap and be wrapped by."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask

import valetkey
from tests.support.app import ENCRYPTION_KEY
from valetkey.api_helpers.cors import PreflightMiddleware
from valetkey.authorization_server.authorize.fast_path import AuthorizeMiddleware
from valetkey.resource_server.guard.repeated_refusals import RepeatedRefusalMiddleware
from valetkey.web.endpoint_adapters import EndpointMiddleware
from valetkey.web.health import HealthMiddleware
from valetkey.web.middleware import IssuerPathMiddleware, Middleware, ResponseHookMiddleware, add_middleware
from valetkey.web.refused_call import RefusedCallMiddleware
from valetkey.web.repeated_slashes import RepeatedSlashesMiddleware
from valetkey.web.request_body import BodyRecordingMiddleware
from valetkey.web.request_slots import RequestSlotsMiddleware

COMPLETE: list[type[Middleware]] = [
    RepeatedSlashesMiddleware,
    IssuerPathMiddleware,
    HealthMiddleware,
    EndpointMiddleware,
    ResponseHookMiddleware,
    AuthorizeMiddleware,
    PreflightMiddleware,
    RepeatedRefusalMiddleware,
    RefusedCallMiddleware,
    BodyRecordingMiddleware,
]


def list_middleware(app: Flask) -> list[type[Middleware]]:
    """Return the classes of an app's middleware, outermost first."""
    found: list[type[Middleware]] = []
    layer: Any = app.wsgi_app
    while isinstance(layer, Middleware):
        found.append(type(layer))
        layer = layer.inner
    return found


def make_server(**settings: Any) -> Flask:
    app = Flask(__name__)
    options = {
        "issuer": "https://api.example/at/path",
        "cors": "registered",
        "health_path": "/healthz",
        "endpoints_bypass_flask": True,
        "encryption_keys": [ENCRYPTION_KEY],
    }
    valetkey.Valetkey(app, env_prefix=None, **{**options, **settings})
    return app


def test_a_server_has_all_middleware_in_this_order() -> None:
    assert list_middleware(make_server()) == COMPLETE


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"issuer": "https://api.example"}, {IssuerPathMiddleware}),
        ({"endpoints_bypass_flask": False}, {EndpointMiddleware, AuthorizeMiddleware, RepeatedRefusalMiddleware}),
        ({"resource_owner": lambda: None}, {AuthorizeMiddleware}),
        ({"cors": "off"}, {PreflightMiddleware}),
        ({"health_path": None}, {HealthMiddleware}),
    ],
)
def test_a_setting_leaves_middleware_out_and_changes_no_order(
    settings: dict[str, Any], missing: set[type[Middleware]]
) -> None:
    assert list_middleware(make_server(**settings)) == [layer for layer in COMPLETE if layer not in missing]


def test_a_resource_server_has_response_hooks_and_enforces_refusals() -> None:
    app = Flask(__name__)

    valetkey.ResourceServer(
        app, trusted_issuers=["https://login.example"], resource="https://api.example", env_prefix=None
    )

    assert list_middleware(app) == [ResponseHookMiddleware, RefusedCallMiddleware]


@pytest.mark.parametrize("middleware", [*COMPLETE, RequestSlotsMiddleware])
def test_each_class_says_what_must_be_outside_and_inside_of_it(middleware: type[Middleware]) -> None:
    assert "\nOrder: " in (inspect.getdoc(middleware) or "")


def test_no_other_middleware_exists() -> None:
    assert {layer for layer in Middleware.__subclasses__() if layer.__module__.startswith("valetkey.")} == {
        *COMPLETE,
        RequestSlotsMiddleware,  # `valetkey serve` adds it
    }


def test_a_request_passes_through_the_list_from_first_to_last_and_then_what_the_app_had_before() -> None:
    passed: list[str] = []

    class Recording(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            passed.append(self.name)
            return self.inner(environ, start_response)

    app = Flask(__name__)
    add_middleware(app, Recording("of the host, before"))
    add_middleware(app, Recording("first"), Recording("second"))
    add_middleware(app, Recording("of the host, after"))

    app.test_client().get("/")

    assert passed == ["of the host, after", "first", "second", "of the host, before"]
