"""RP-Initiated, Back-Channel and Front-Channel Logout with a host that manages its own users (``resource_owner=``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask, session

from tests.conformance.logout_token_receiver import (
    POST_LOGOUT_REDIRECT_URI,
    LogoutTokenReceiver,
    decode_token,
    run_logout_token_receiver,
    submit_logout_confirmation,
)
from tests.conformance.relying_party import RelyingParty, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import redirect_parameters
from valetkey import Owner

FRAME = "https://shop.example/frame"


class HostAccounts:
    """A host's accounts; its own session cookie has the sign-in. It does not implement ``sign_out``."""

    def current(self) -> Owner | None:
        return Owner("maya", auth_time=session["since"], sid=session["sid"]) if "sid" in session else None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return f"/login?next={next}"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        return {}


class HostAccountsWithSignOut(HostAccounts):
    """The same accounts with ``sign_out``."""

    def sign_out(self) -> None:
        session.clear()


@pytest.fixture
def receiver() -> Iterator[LogoutTokenReceiver]:
    with run_logout_token_receiver() as running:
        yield running


def _at_host(make_app: MakeApp, store_url: str, accounts: HostAccounts, **members: Any) -> RelyingParty:
    app: Flask = make_app(store_url, resource_owner=accounts)
    app.secret_key = "of the test"
    rp = register_relying_party(app, members={"post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI], **members})
    with rp.http.session_transaction() as host_session:
        host_session.update(sid="of-maya", since=rp.runtime.clock())
    return rp


@pytest.fixture
def rp(make_app: MakeApp, sqlite_store_url: str, receiver: LogoutTokenReceiver) -> RelyingParty:
    members = {"backchannel_logout_uri": receiver.url, "frontchannel_logout_uri": FRAME}
    return _at_host(make_app, sqlite_store_url, HostAccountsWithSignOut(), **members)


def test_without_a_sign_out_method_of_the_host_there_is_no_logout_endpoint(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    """§2.1; Back-Channel §2.1: the host reports sign-outs itself, with Valetkey.end_session."""
    rp = _at_host(make_app, sqlite_store_url, HostAccounts())
    metadata = rp.get("/.well-known/openid-configuration").json

    assert not {"end_session_endpoint", "frontchannel_logout_supported"} & metadata.keys()
    assert metadata["backchannel_logout_supported"] is True
    assert rp.get("/oauth/logout").status_code == 404


def test_a_relying_party_can_sign_its_user_out_at_the_host(rp: RelyingParty, receiver: LogoutTokenReceiver) -> None:
    """§2, §3; Back-Channel §2.5; Front-Channel §2."""
    metadata = rp.get("/.well-known/openid-configuration").json
    assert metadata["end_session_endpoint"].endswith("/oauth/logout")
    hint = rp.obtain_tokens()["id_token"]

    page = rp.get(
        "/oauth/logout", query_string={"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    )

    assert FRAME in page.text and POST_LOGOUT_REDIRECT_URI in page.text
    assert rp.runtime.make_worker().run_once() == 1
    [token] = receiver.logout_tokens
    assert decode_token(rp, token)[1]["sid"] == "of-maya"
    assert redirect_parameters(rp.authorize(prompt="none"))["error"] == "login_required"


def test_without_a_hint_the_user_must_confirm(rp: RelyingParty) -> None:
    """§2."""
    page = rp.get("/oauth/logout")
    assert page.status_code == 200
    assert not submit_logout_confirmation(rp, page, "stay").location
    assert rp.obtain_tokens()

    submit_logout_confirmation(rp, rp.get("/oauth/logout"), "log-out")

    assert redirect_parameters(rp.authorize(prompt="none"))["error"] == "login_required"
