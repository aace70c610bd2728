"""RP-Initiated, Back-Channel and Front-Channel Logout where a host keeps the people (``resource_owner=``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask, session

from tests.conformance.logout_token_receiver import (
    POST_LOGOUT_REDIRECT_URI,
    decode_token,
    run_logout_token_receiver,
    submit_logout_confirmation,
)
from tests.conformance.logout_token_receiver import LogoutTokenReceiver as Party
from tests.conformance.relying_party import RelyingParty, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import redirect_parameters
from valetkey import Owner

FRAME = "https://shop.example/frame"


class People:
    """A host's own accounts; the sign-in is in the host's session."""

    def current(self) -> Owner | None:
        return Owner("maya", auth_time=session["since"], sid=session["sid"]) if "sid" in session else None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return f"/login?next={next}"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        return {}


class PeopleWhoLeave(People):
    """The same, and it says how a sign-in ends."""

    def sign_out(self) -> None:
        session.clear()


@pytest.fixture
def party() -> Iterator[Party]:
    with run_logout_token_receiver() as running:
        yield running


def _at_host(make_app: MakeApp, store_url: str, people: People, **members: Any) -> RelyingParty:
    app: Flask = make_app(store_url, resource_owner=people)
    app.secret_key = "of the test"
    rp = register_relying_party(app, members={"post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI], **members})
    with rp.http.session_transaction() as kept:
        kept.update(sid="of-maya", since=rp.runtime.clock())
    return rp


@pytest.fixture
def rp(make_app: MakeApp, sqlite_store_url: str, party: Party) -> RelyingParty:
    told = {"backchannel_logout_uri": party.url, "frontchannel_logout_uri": FRAME}
    return _at_host(make_app, sqlite_store_url, PeopleWhoLeave(), **told)


def test_a_host_that_does_not_say_how_a_sign_in_ends_has_no_such_endpoint(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    """§2.1; Back-Channel §2.1: the host tells of the ends itself, by Valetkey.end_session."""
    rp = _at_host(make_app, sqlite_store_url, People())
    found = rp.get("/.well-known/openid-configuration").json

    assert not {"end_session_endpoint", "frontchannel_logout_supported"} & found.keys()
    assert found["backchannel_logout_supported"] is True
    assert rp.get("/oauth/logout").status_code == 404


def test_an_app_signs_its_person_out_at_the_host(rp: RelyingParty, party: Party) -> None:
    """§2, §3; Back-Channel §2.5; Front-Channel §2."""
    found = rp.get("/.well-known/openid-configuration").json
    assert found["end_session_endpoint"].endswith("/oauth/logout")
    hint = rp.obtain_tokens()["id_token"]

    done = rp.get(
        "/oauth/logout", query_string={"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    )

    assert FRAME in done.text and POST_LOGOUT_REDIRECT_URI in done.text
    assert rp.runtime.make_worker().run_once() == 1
    [token] = party.logout_tokens
    assert decode_token(rp, token)[1]["sid"] == "of-maya"
    assert redirect_parameters(rp.authorize(prompt="none"))["error"] == "login_required"


def test_without_a_hint_the_person_is_asked_first(rp: RelyingParty) -> None:
    """§2."""
    page = rp.get("/oauth/logout")
    assert page.status_code == 200
    assert not submit_logout_confirmation(rp, page, "stay").location
    assert rp.obtain_tokens()

    submit_logout_confirmation(rp, rp.get("/oauth/logout"), "log-out")

    assert redirect_parameters(rp.authorize(prompt="none"))["error"] == "login_required"
