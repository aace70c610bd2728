"""A user whom the host's ``find`` no longer returns is refused; a host that fails gets 503 and not 500."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, abort
from werkzeug.routing import BuildError

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from valetkey import Owner, Valetkey
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.testing import mint_token


class Host:
    """The accounts of a host app. ``failing`` has the names of methods that raise an exception."""

    def __init__(self) -> None:
        self.users = {"ada", "eve"}
        self.current_sub = "ada"
        self.failing: set[str] = set()
        self.calls: list[str] = []

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if method in self.failing:
            raise RuntimeError("the host's database is down, password=hunter2")

    def current(self) -> Owner | None:
        self._enter("current")
        return Owner(self.current_sub, auth_time=1.0) if self.current_sub in self.users else None

    def sign_in_url(self, next: str, **_: Any) -> str:
        self._enter("sign_in_url")
        return "/login"

    def find(self, sub: str) -> Owner | None:
        self._enter("find")
        return Owner(sub) if sub in self.users else None

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        self._enter("claims")
        return {"name": "Ada"}


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def app(make_app: MakeApp, store_url: str, host: Host) -> Flask:
    return make_app(store_url, resource_owner=host)


@pytest.fixture
def browser(app: Flask) -> Browser:
    client = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="Shop",
        policy="web",
        redirect_uris=[CALLBACK],
    )
    return Browser(app.test_client(), client)


def obtain_tokens(browser: Browser, *scope: str) -> Any:
    """Return the token response after the consent of the user who is signed in at the host."""
    return browser.obtain_tokens(scope=scope)


def test_the_guard_refuses_a_user_within_a_minute_after_they_were_removed(
    browser: Browser, host: Host, clock: Clock
) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    assert browser.call(token).status_code == 200

    host.users.clear()
    clock.forward(61)
    refused = browser.call(token)

    assert (refused.status_code, refused.json["error"]) == (401, "invalid_token")
    assert refused.headers["Cache-Control"] == "no-store"


def test_the_host_is_asked_once_a_minute(browser: Browser, host: Host, clock: Clock) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    browser.call(token)
    host.calls.clear()

    statuses = [browser.call(token).status_code for _ in range(5)]
    clock.forward(61)
    statuses += [browser.call(token).status_code for _ in range(5)]

    assert statuses == [200] * 10
    assert host.calls == ["find"]


def test_a_user_who_is_not_found_is_looked_up_every_five_seconds(browser: Browser, host: Host, clock: Clock) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    host.users.clear()
    clock.forward(61)
    host.calls.clear()

    assert [browser.call(token).status_code for _ in range(5)] == [401] * 5
    host.users.add("ada")
    clock.forward(6)

    assert browser.call(token).status_code == 200
    assert host.calls == ["find", "find"]


def test_revoke_owner_needs_no_minute(browser: Browser, app: Flask, host: Host) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    assert browser.call(token).status_code == 200

    Valetkey.revoke_owner(app, "ada")

    assert browser.call(token).status_code == 401


def test_tokens_of_other_users_and_of_programs_stay_valid(browser: Browser, app: Flask, host: Host) -> None:
    of_eve, of_program = mint_token(app, "profile", user_id="eve"), mint_token(app, "profile")

    host.users.discard("ada")

    assert [browser.call(token).status_code for token in (of_eve, of_program)] == [200, 200]


@pytest.mark.parametrize("path", ["/oauth/userinfo", "/oauth/limits"])
def test_oauth_endpoints_refuse_the_user_too(browser: Browser, host: Host, clock: Clock, path: str) -> None:
    token = obtain_tokens(browser, "openid", "profile")["access_token"]
    host.users.clear()
    clock.forward(61)

    assert browser.call(token, path).status_code == 401


def test_a_token_of_a_removed_user_can_still_be_revoked(browser: Browser, host: Host, clock: Clock) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    host.users.clear()
    clock.forward(61)

    revoked = browser.http.post("/oauth/revoke", data={"token": token}, auth=browser.auth)
    host.users.add("ada")
    clock.forward(6)

    assert revoked.status_code == 200
    assert browser.call(token).status_code == 401


def test_a_failure_of_find_is_503_at_the_guard(
    browser: Browser, host: Host, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    host.failing.add("find")
    clock.forward(61)
    response = browser.call(token)

    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert int(response.headers["Retry-After"]) > 0
    assert "hunter2" not in response.text
    assert "resource_owner.find raised" in caplog.text
    host.failing.clear()
    assert browser.call(token).status_code == 200


Call = Callable[[Browser, Any], Any]


@pytest.mark.parametrize(
    ("failing", "call"),
    [
        ("find", lambda browser, tokens: browser.call(tokens["access_token"], "/oauth/userinfo")),
        ("claims", lambda browser, tokens: browser.call(tokens["access_token"], "/oauth/userinfo")),
        ("find", lambda browser, tokens: browser.refresh(tokens["refresh_token"])),
        (
            "find",
            lambda browser, tokens: browser.http.post(
                "/oauth/introspect", data={"token": tokens["access_token"]}, auth=browser.auth
            ),
        ),
    ],
    ids=["userinfo, find", "userinfo, claims", "refresh, find", "introspection, find"],
)
def test_a_failure_of_the_host_is_503_at_oauth_endpoints(
    browser: Browser, host: Host, clock: Clock, failing: str, call: Call
) -> None:
    tokens = obtain_tokens(browser, "openid", "profile", "offline_access")
    clock.forward(61)
    host.failing.add(failing)
    response = call(browser, tokens)

    assert response.status_code == 503, response.text
    assert "Retry-After" in response.headers and response.json["error"] == "temporarily_unavailable"
    host.failing.clear()
    assert call(browser, tokens).status_code == 200


@pytest.mark.parametrize("failing", ["current", "sign_in_url"])
def test_a_failure_of_the_host_is_a_page_with_503(browser: Browser, host: Host, failing: str) -> None:
    host.users.clear()
    host.failing.add(failing)

    response = browser.get("/account")

    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert "hunter2" not in response.text and "Traceback" not in response.text


def test_an_authorization_request_is_503_if_the_host_cannot_say_who_is_signed_in(browser: Browser, host: Host) -> None:
    host.failing.add("current")

    assert [browser.authorize(**changes).status_code for changes in ({}, {"scope": "unknown"})] == [503, 503]


def test_an_http_error_of_the_host_is_its_own(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: abort(403))

    assert app.test_client().get("/account").status_code == 403


def test_a_function_as_resource_owner_looks_nobody_up(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: None, sign_in_url="/login")
    browser = Browser(app.test_client(), CreatedClient("none", None))

    assert browser.call(mint_token(app, "profile", user_id="anybody")).status_code == 200


def test_a_token_for_tests_names_a_user_that_the_host_finds(app: Flask, register: Register) -> None:
    with pytest.raises(ValueError, match="create the user before the token"):
        mint_token(app, "profile", user_id="nobody")


@pytest.mark.parametrize("user_id", [7, UUID(int=7)])
def test_a_token_for_tests_names_a_user_by_text(app: Flask, host: Host, user_id: Any) -> None:
    host.users.add(str(user_id))
    browser = Browser(app.test_client(), CreatedClient("none", None))

    response = browser.call(mint_token(app, "profile", user_id=user_id))

    assert (response.status_code, response.json["user"]) == (200, str(user_id))
    for value in (True, b"ada", ["ada"]):
        with pytest.raises(ValueError, match="user_id must be text, a whole number or a UUID"):
            mint_token(app, "profile", user_id=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("nobody", [None, False, "abort"])
def test_whatever_the_host_returns_for_nobody_is_nobody(
    browser: Browser, host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch, nobody: Any
) -> None:
    """A host may write ``user.is_active and Owner(user.id)``, or use Flask-SQLAlchemy's ``get_or_404``."""
    tokens = obtain_tokens(browser, "openid", "profile", "offline_access")
    clock.forward(61)
    monkeypatch.setattr(host, "find", lambda _: abort(404) if nobody == "abort" else nobody)

    assert browser.call(tokens["access_token"]).status_code == 401
    assert browser.call(tokens["access_token"], "/oauth/userinfo").status_code == 401
    assert browser.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


@pytest.mark.parametrize("method", ["find", "current"])
@pytest.mark.parametrize("value", [True, "ada", {"sub": "ada"}])
def test_what_is_no_owner_is_a_failure_of_the_host(
    browser: Browser,
    host: Host,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    value: Any,
) -> None:
    token = obtain_tokens(browser, "profile")["access_token"]
    clock.forward(61)
    monkeypatch.setattr(host, method, lambda *_: value)

    response = browser.call(token) if method == "find" else browser.get("/account")

    assert response.status_code == 503
    assert f"resource_owner.{method} must return an Owner or None, not {type(value).__name__}" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"), [(LookupError(), 400), (KeyError("LOGIN_URL"), 503), (BuildError("login", {}, None), 503)]
)
def test_only_a_lookup_error_itself_says_that_there_is_no_sign_in_page(
    browser: Browser,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: LookupError,
    status: int,
) -> None:
    """``url_for`` raises a ``BuildError``, which is a ``LookupError``, for the name of an endpoint that is misspelt."""

    def fail(*_: Any, **__: Any) -> str:
        raise error

    host.current_sub = None
    monkeypatch.setattr(host, "sign_in_url", fail)

    assert browser.get("/account").status_code == status
    assert ("resource_owner.sign_in_url raised" in caplog.text) is (status == 503)


@pytest.mark.parametrize(("claims", "status"), [(None, 200), ([], 503), ("x", 503)])
def test_claims_that_are_no_dict_are_a_failure_of_the_host(
    browser: Browser, host: Host, monkeypatch: pytest.MonkeyPatch, claims: Any, status: int
) -> None:
    token = obtain_tokens(browser, "openid", "profile")["access_token"]
    monkeypatch.setattr(host, "claims", lambda *_: claims)

    assert browser.call(token, "/oauth/userinfo").status_code == status


@pytest.mark.parametrize(("returned", "status"), [(None, 303), (False, 303), ("", 303), (True, 503)])
def test_a_function_that_returns_no_user_id_signs_nobody_in(
    make_app: MakeApp, sqlite_store_url: str, returned: Any, status: int
) -> None:
    """A host may write ``current_user.is_authenticated and current_user.id``, which is ``False`` for strangers."""
    app = make_app(sqlite_store_url, resource_owner=lambda: returned, sign_in_url="/login")

    assert app.test_client().get("/account").status_code == status


def test_a_user_without_an_id_is_refused(browser: Browser, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.users.add("")
    host.current_sub = ""  # of an anonymous user, say: all of them would share one account

    response = browser.authorize()

    assert response.status_code == 503
    assert "resource_owner.current must return None if there is no user, not Owner" in caplog.text
