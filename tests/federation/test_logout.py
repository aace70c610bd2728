"""Back-channel logout by a provider ends the sessions that began with it, and what hangs on them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of
from valetkey import GitHub
from valetkey.runtime import Runtime
from valetkey.storage import audit

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def log_out(app: Flask, provider: FakeProvider, now: float, header: dict[str, Any], **changes: Any) -> TestResponse:
    """Send a logout token with these changes of header and claims; ``None`` leaves a claim out."""
    claims = {
        "iss": provider.issuer,
        "aud": CLIENT_ID,
        "iat": int(now),
        "exp": int(now) + 120,
        "jti": "j-1",
        "events": {LOGOUT_EVENT: {}},
        "sub": "ada-1",
        "sid": "s-1",
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    token = provider.sign(claims, **{"typ": "logout+jwt", **header})
    return app.test_client().post("/account/sign-in/example/back-channel-logout", data={"logout_token": token})


@pytest.mark.parametrize("names", [{"sub": None}, {"sid": None}, {}])
def test_a_logout_token_ends_the_session_that_it_names(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, clock: Clock, names: dict[str, None]
) -> None:
    browser.sign_in(sid="s-1")
    other = browser_of(app, provider)
    other.sign_in(sid="s-2")
    eve = browser_of(app, provider)
    eve.sign_in(sub="eve", email="eve@example.org", sid="s-3")

    response = log_out(app, provider, clock(), {}, **names)

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert not browser.is_signed_in()
    assert other.is_signed_in() == (names != {"sid": None})
    assert eve.is_signed_in()
    runtime: Runtime = app.extensions["valetkey"]
    assert any(entry.row.event == "session.ended" for entry in audit.list_latest(runtime.store, 9))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-site"},
        {"aud": None},
        {"events": None},
        {"events": {LOGOUT_EVENT: True}},
        {"events": {"other": {}}},
        {"nonce": "n"},
        {"exp": 1},
        {"exp": None},
        {"iat": 99_999_999_999},
        {"iat": None},
        {"jti": None},
        {"sub": None, "sid": None},
        {"sub": 7},
        {"sub": "ada-1\x00"},
        {"sid": ""},
        {"iat": 10**400},
        {"sub": "eve"},
        {"sid": "s-2"},
    ],
    ids=str,
)
def test_what_is_not_a_logout_token_for_this_session_ends_nothing(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, clock: Clock, changes: dict[str, Any]
) -> None:
    browser.sign_in(sid="s-1")

    response = log_out(app, provider, clock(), {}, **changes)

    is_about_another_session = changes in ({"sub": "eve"}, {"sid": "s-2"})
    assert response.status_code == (200 if is_about_another_session else 400), response.text
    assert browser.is_signed_in()


def test_a_provider_without_id_tokens_has_no_logout_tokens(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[GitHub(CLIENT_ID, CLIENT_SECRET, url=provider.url)])
    token = provider.sign({"sub": "ada-1"})

    url = "/account/sign-in/github/back-channel-logout"
    assert app.test_client().post(url, data={"logout_token": token}).status_code == 400


def test_an_id_token_is_not_a_logout_token(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, clock: Clock
) -> None:
    browser.sign_in(sid="s-1")

    assert log_out(app, provider, clock(), {"typ": "id_token+jwt"}).status_code == 400
    provider.algorithm = "HS256"
    assert log_out(app, provider, clock(), {}).status_code == 400
    provider.algorithm, provider.signs_with_unpublished_key = "RS256", True
    assert log_out(app, provider, clock(), {}).status_code == 400
    assert browser.is_signed_in()


def test_a_replayed_logout_token_does_not_end_a_later_session(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider, clock: Clock
) -> None:
    issued_at = clock()
    clock.forward(60)
    browser.sign_in(sid="s-1")

    assert log_out(app, provider, issued_at, {}).status_code == 200
    assert browser.is_signed_in()


def test_an_unknown_provider_is_refused(app: Flask) -> None:
    path = "/account/sign-in/unknown/back-channel-logout"
    assert app.test_client().post(path, data={"logout_token": "x"}).status_code == 400
    assert app.test_client().get(path).status_code == 405


def test_keys_that_cannot_be_read_are_a_503(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()])
    provider.stop()

    assert log_out(app, provider, clock(), {}).status_code == 503


@pytest.mark.parametrize("lifetime", [3600, 2 * 86400])
def test_a_change_of_session_lifetime_does_not_change_when_sessions_began(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider, clock: Clock, lifetime: int
) -> None:
    issued_before = clock()
    clock.forward(60)
    before = make_app(sqlite_store_url, sign_in_with=[provider.provider()], session_lifetime=86400)
    session = browser_of(before, provider)
    session.sign_in(sid="s-1")
    app = make_app(sqlite_store_url, sign_in_with=[provider.provider()], session_lifetime=lifetime)

    assert log_out(app, provider, issued_before, {}).status_code == 200
    assert session.is_signed_in()
    assert log_out(app, provider, clock(), {}).status_code == 200
    assert not session.is_signed_in()
