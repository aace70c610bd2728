"""Calls of ``resource_owner``: in an application context of the app, and checked at the start and after each call."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, current_app, has_request_context
from werkzeug.local import LocalProxy

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from valetkey import Owner, SettingsError, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.testing import mint_token


class Host:
    """The accounts of an app: each look-up records the app of the context, and whether there is a request."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def _record(self) -> None:
        self.calls.append((current_app.name, has_request_context()))

    def current(self) -> Owner | None:
        self._record()
        return None

    def sign_in_url(self, next: str, **_: Any) -> str:
        return "/login"

    def find(self, sub: str) -> Owner | None:
        self._record()
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        self._record()
        return {}


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str, host: Host) -> Flask:
    app = make_app(sqlite_store_url, resource_owner=host)
    app.add_url_rule("/api/limited", "limited", require_oauth(limit="1/hour burst 1")(lambda: "ok"))
    return app


@pytest.mark.parametrize("has_hook", [False, True])
def test_a_caller_that_is_refused_before_flask_is_looked_up_in_an_application_context(
    app: Flask, host: Host, clock: Clock, caplog: pytest.LogCaptureFixture, has_hook: bool
) -> None:
    if has_hook:  # then the call goes through Flask, and so does the look-up
        app.before_request(lambda: None)
    headers = {"Authorization": f"Bearer {mint_token(app, user_id='ada')}"}
    http = app.test_client()
    statuses = [http.get("/api/limited", headers=headers).status_code for _ in range(3)]
    clock.forward(61)
    host.calls.clear()

    statuses += [http.get("/api/limited", headers=headers).status_code for _ in range(3)]

    assert statuses == [200, 429, 429, 429, 429, 429]
    assert host.calls == [("api", has_hook)]
    assert "resource_owner" not in caplog.text


def test_a_job_looks_users_up_in_an_application_context(app: Flask, host: Host) -> None:
    runtime: Runtime = app.extensions["valetkey"]

    runtime.owners.find("ada")
    runtime.owners.claims("ada", frozenset())
    with Flask("outer").app_context():
        runtime.owners.find("ada")

    assert host.calls == [("api", False)] * 3


class Incomplete:
    def current(self) -> Owner | None:
        return None

    def find(self, sub: str) -> Owner | None:
        return None


class WithoutClaims(Incomplete):
    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return "/login"


class WithoutFresh(Host):
    def sign_in_url(self, next: str) -> str:  # type: ignore[override]
        return "/login"


class Asynchronous(Host):
    async def find(self, sub: str) -> Owner | None:  # type: ignore[override]
        return None


async def find_asynchronously() -> str | None:
    return None


def test_users_of_an_object_without_the_method_claims_have_none(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, resource_owner=WithoutClaims())

    assert app.extensions["valetkey"].owners.claims("ada", frozenset({"openid", "profile"})) == {}


@pytest.mark.parametrize(
    ("resource_owner", "sentence"),
    [
        ("ada", "must be an object with the methods current, sign_in_url, find, or a function"),
        ({}, "this dict has no current, sign_in_url, find"),
        (False, "this bool has no"),
        (Incomplete(), "this Incomplete has no sign_in_url"),
        (Host, "resource_owner is the class Host: pass an object of it, Host()"),
        (WithoutFresh(), "resource_owner.sign_in_url has other parameters than ResourceOwners documents: got an unexp"),
        (lambda user: user, "resource_owner has other parameters than ResourceOwners documents: missing a required"),
        (Asynchronous(), "resource_owner.find is an async function: make it a function without async"),
        (find_asynchronously, "resource_owner is an async function"),
    ],
)
def test_a_resource_owner_that_cannot_be_called_stops_the_start(
    make_app: MakeApp, sqlite_store_url: str, resource_owner: Any, sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        make_app(sqlite_store_url, resource_owner=resource_owner)

    assert sentence in str(refused.value)


@pytest.mark.parametrize("function", [dict, lambda *_, **__: None, functools.partial(str, "ada")])
def test_a_function_without_a_known_signature_is_accepted(
    make_app: MakeApp, sqlite_store_url: str, function: Any
) -> None:
    make_app(sqlite_store_url, resource_owner=function)


USER_ID = UUID(int=7)


class User(Owner):
    """A subclass of the host, with a constructor of its own."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row["id"], name=row["name"])


@pytest.mark.parametrize(
    ("owner", "sub"),
    [
        (Owner(5), "5"),  # type: ignore[arg-type]  # the primary key of the host's table
        (Owner(0), "0"),  # type: ignore[arg-type]
        (Owner(USER_ID), str(USER_ID)),  # type: ignore[arg-type]
        (Owner("ada", sid=5), "ada"),  # type: ignore[arg-type]
        (Owner("ada", name=None, email=None), "ada"),  # type: ignore[arg-type]
        (Owner("ada", amr=["pwd"], auth_time=1), "ada"),  # type: ignore[arg-type]
        (User({"id": "ada", "name": "Ada"}), "ada"),
        (User({"id": 5, "name": None}), "5"),
    ],
)
def test_fields_of_an_owner_may_be_as_in_the_database_of_the_host(
    app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch, owner: Owner, sub: str
) -> None:
    monkeypatch.setattr(host, "current", lambda: owner)
    runtime: Runtime = app.extensions["valetkey"]
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    browser = Browser(app.test_client(), shop)

    tokens = browser.obtain_tokens(scope=("openid", "profile"))

    assert browser.call(tokens["access_token"]).json["user"] == sub


@pytest.mark.parametrize(
    ("owner", "sentence"),
    [
        (Owner(None), "must return None if there is no user"),  # type: ignore[arg-type]
        (Owner(True), "must return an Owner whose sub is a str, not bool"),  # type: ignore[arg-type]
        (Owner(b"ada"), "must return an Owner whose sub is a str, not bytes"),  # type: ignore[arg-type]
        (
            Owner("ada", auth_time=datetime(2026, 5, 1)),  # type: ignore[arg-type]
            "must return an Owner whose auth_time is a number of seconds or None, not datetime",
        ),
        (Owner("ada", amr="pwd"), "must return an Owner whose amr is a tuple of str, not str"),  # type: ignore[arg-type]
        (
            Owner("ada", amr=("pwd", "no mfa")),
            "must return an Owner whose amr has only values of visible ASCII characters, without spaces, not 'no mfa'",
        ),
        (
            Owner("ada", amr=(5,)),  # type: ignore[arg-type]
            "must return an Owner whose amr has only values of visible ASCII characters, without spaces, not 5",
        ),
        (Owner("ada", name=5), "must return an Owner whose name is a str, not int"),  # type: ignore[arg-type]
    ],
)
def test_an_owner_with_fields_of_other_types_is_a_failure_of_the_host(
    app: Flask,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: Owner,
    sentence: str,
) -> None:
    monkeypatch.setattr(host, "current", lambda: owner)

    assert app.test_client().get("/account").status_code == 503
    assert f"resource_owner.current {sentence}" in caplog.text


@pytest.mark.parametrize(("url", "found"), [(None, "None"), (5, "int"), ("", "an empty text")])
def test_a_sign_in_url_that_is_none_is_a_failure_of_the_host(
    app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: Any, found: str
) -> None:
    monkeypatch.setattr(host, "sign_in_url", lambda *_, **__: url)

    assert app.test_client().get("/account").status_code == 503
    assert f"resource_owner.sign_in_url must return a URL, not {found}" in caplog.text


@pytest.mark.parametrize("url", ["login", "?next=/", "login.html?next=/", "javascript:alert(1)"])
def test_a_sign_in_url_relative_to_the_page_is_a_failure_of_the_host(
    app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    monkeypatch.setattr(host, "sign_in_url", lambda *_, **__: url)

    assert app.test_client().get("/account").status_code == 503
    expected = "resource_owner.sign_in_url must return a URL, or a path that begins with /"
    assert f"{expected}, not {url!r}" in caplog.text


@pytest.mark.parametrize("url", ["/login", "//login.example/", "https://login.example", "http://127.0.0.1:5000/login"])
def test_a_sign_in_url_is_a_path_or_a_url(app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(host, "sign_in_url", lambda *_, **__: url)

    assert app.test_client().get("/account").location == url


class Anonymous:
    """The user of Flask-Login when no user is signed in: one object for all visitors."""


@pytest.mark.parametrize("value", [True, Anonymous(), LocalProxy(Anonymous), {}, {"id": 5}, [5], (5,), b"ada", 1.5])
def test_a_function_that_returns_something_else_than_a_user_id_is_a_failure_of_the_host(
    make_app: MakeApp, sqlite_store_url: str, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: value, sign_in_url="/login")

    assert app.test_client().get("/account").status_code == 503
    assert "resource_owner must return the user id as text, a whole number or a UUID, for example" in caplog.text
    assert f"or None if no user is signed in, not {type(value).__name__}" in caplog.text


@pytest.mark.parametrize("value", ["ada", 5, 0, USER_ID])
def test_a_function_may_return_a_user_id_as_in_the_database_of_the_host(
    make_app: MakeApp, sqlite_store_url: str, value: Any
) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: value)

    with app.test_request_context():
        assert app.extensions["valetkey"].owners.current() == Owner(str(value))
