"""OpenID Connect RP-Initiated Logout 1.0."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conformance.logout_token_receiver import (
    POST_LOGOUT_REDIRECT_URI,
    is_signed_in,
    obtain_openid_tokens,
    submit_logout_confirmation,
    with_client,
)
from tests.support.app import Register
from tests.support.browser_client import ISSUER, Browser, redirect_parameters, sign_in_new_account
from tests.support.clock import Clock
from valetkey.authorization_server.clients.service import RegistrationRefused
from valetkey.runtime import Runtime


@pytest.fixture
def rp(register: Register, ada: Browser) -> Browser:
    """Ada at a relying party that registered where logout goes on."""
    return with_client(
        ada,
        register(
            members={"post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI, f"{POST_LOGOUT_REDIRECT_URI}?from=logout"]}
        ),
    )


def logout(browser: Browser, **asked: str) -> Any:
    return browser.get("/oauth/logout", query_string=asked)


def test_discovery_names_the_endpoint(rp: Browser) -> None:
    """§2.1."""
    assert rp.get("/.well-known/openid-configuration").json["end_session_endpoint"] == f"{ISSUER}/oauth/logout"


def test_with_the_hint_of_this_sign_in_the_person_is_signed_out_and_goes_on(rp: Browser) -> None:
    """§2, §3."""
    hint = obtain_openid_tokens(rp)["id_token"]
    done = logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI, state="a b&c")

    assert done.status_code == 303
    assert done.location.startswith(POST_LOGOUT_REDIRECT_URI)
    assert redirect_parameters(done) == {"state": "a b&c"}  # §3: returned as it was
    assert not is_signed_in(rp)


def test_without_state_nothing_is_added(rp: Browser) -> None:
    """§3: exactly the registered URI."""
    hint = obtain_openid_tokens(rp)["id_token"]

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


def test_state_is_added_to_a_query_that_is_there(rp: Browser) -> None:
    """§3."""
    hint = obtain_openid_tokens(rp)["id_token"]
    done = logout(rp, id_token_hint=hint, post_logout_redirect_uri=f"{POST_LOGOUT_REDIRECT_URI}?from=logout", state="x")

    assert done.location == f"{POST_LOGOUT_REDIRECT_URI}?from=logout&state=x"


def test_a_request_by_post_comes_to_the_same(rp: Browser) -> None:
    """§2: GET and POST must be supported."""
    hint = obtain_openid_tokens(rp)["id_token"]
    sent = rp.http.post(
        "/oauth/logout", data={"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    )

    assert sent.status_code == 303
    assert rp.get(sent.location).location == POST_LOGOUT_REDIRECT_URI
    assert not is_signed_in(rp)


def test_a_hint_that_was_posted_is_in_no_address(rp: Browser, clock: Clock) -> None:
    """§2: clients post what must not be in a log; it is sealed on its way, and only for ten minutes."""
    hint = obtain_openid_tokens(rp)["id_token"]
    posted = {"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}

    sent_on = rp.http.post("/oauth/logout", data=posted).location
    assert not any(part in sent_on for part in hint.split("."))
    changed = sent_on.replace("sealed.", "sealed.A", 1)
    assert rp.get(changed).status_code == 400
    clock.forward(seconds=601)
    assert rp.get(sent_on).status_code == 400
    assert is_signed_in(rp)

    assert rp.get(rp.http.post("/oauth/logout", data=posted).location).location == POST_LOGOUT_REDIRECT_URI
    assert not is_signed_in(rp)


def test_an_expired_hint_is_accepted(rp: Browser, clock: Clock) -> None:
    """§2, §4."""
    hint = obtain_openid_tokens(rp)["id_token"]
    clock.forward(7200)

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


def test_without_a_hint_the_person_is_asked(rp: Browser) -> None:
    """§2: the person is asked whether to log out."""
    asked = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI, state="x")

    assert asked.status_code == 200
    assert "Shop" in asked.text
    assert is_signed_in(rp)
    assert submit_logout_confirmation(rp, asked, "log-out").location == f"{POST_LOGOUT_REDIRECT_URI}?state=x"
    assert not is_signed_in(rp)


def test_a_person_who_says_no_stays_and_is_sent_nowhere(rp: Browser) -> None:
    """§2, §3: the redirect follows a logout."""
    asked = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    stayed = submit_logout_confirmation(rp, asked, "stay")

    assert (stayed.status_code, stayed.location) == (200, None)
    assert is_signed_in(rp)


def test_without_anything_the_person_is_asked_and_then_sees_that_it_is_done(rp: Browser) -> None:
    """§2: every parameter is optional."""
    asked = logout(rp)
    done = submit_logout_confirmation(rp, asked, "log-out")

    assert (done.status_code, done.location) == (200, None)
    assert "You are signed out" in done.text
    assert not is_signed_in(rp)


def test_with_only_a_state_it_is_the_same(rp: Browser) -> None:
    """§2."""
    assert submit_logout_confirmation(rp, logout(rp, state="x"), "log-out").location is None


def test_whoever_is_signed_out_already_goes_on(rp: Browser, app: Flask) -> None:
    """§4: logout may come after the session's end."""
    stranger = with_client(Browser(app.test_client(), rp.client), rp.client)

    assert (
        logout(stranger, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )
    assert "You are signed out" in logout(stranger).text


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        f"{POST_LOGOUT_REDIRECT_URI}/",
        f"{POST_LOGOUT_REDIRECT_URI}?x=1",
        f"{POST_LOGOUT_REDIRECT_URI}#f",
        POST_LOGOUT_REDIRECT_URI.replace("https", "http"),
        POST_LOGOUT_REDIRECT_URI.upper(),
        "https://shop.example/back",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_was_not_registered_is_never_gone_to(rp: Browser, uri: str) -> None:
    """§3: exact match; a page says so, and nobody is signed out."""
    hint = obtain_openid_tokens(rp)["id_token"]
    for asked in ({"id_token_hint": hint}, {"client_id": rp.client.client_id}):
        refused = logout(rp, **asked, post_logout_redirect_uri=uri)
        assert (refused.status_code, refused.location) == (400, None)
    assert is_signed_in(rp)


def test_an_address_without_hint_or_client_is_refused(rp: Browser) -> None:
    """§3: the address must be confirmed to be the relying party's."""
    assert logout(rp, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).status_code == 400


def test_an_address_of_another_client_is_refused(rp: Browser, shop: Any) -> None:
    """§3."""
    hint = obtain_openid_tokens(with_client(rp, shop))["id_token"]

    assert logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).status_code == 400


@pytest.mark.parametrize("spoil", ["changed", "unsigned", "nonsense", "access token"])
def test_a_hint_that_we_did_not_issue_is_refused(rp: Browser, spoil: str) -> None:
    """§2: the OP must validate that it issued the ID Token."""
    tokens = obtain_openid_tokens(rp)
    head, body, mark = tokens["id_token"].split(".")
    hints = {
        "changed": f"{head}.{body[:-2]}{'AA' if body[-2:] != 'AA' else 'BB'}.{mark}",
        "unsigned": f"eyJhbGciOiJub25lIn0.{body}.",
        "nonsense": "nonsense",
        "access token": tokens["access_token"],
    }
    refused = logout(rp, id_token_hint=hints[spoil], post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)

    assert (refused.status_code, refused.location) == (400, None)
    assert is_signed_in(rp)


def test_a_client_id_other_than_the_hints_is_refused(rp: Browser, shop: Any) -> None:
    """§2: when both are present they must match."""
    hint = obtain_openid_tokens(rp)["id_token"]

    assert logout(rp, id_token_hint=hint, client_id=shop.client_id).status_code == 400
    assert is_signed_in(rp)


def test_the_hint_of_another_person_ends_nothing_by_itself(rp: Browser, app: Flask, runtime: Runtime) -> None:
    """§2: the person is asked where the hint names somebody else."""
    hint = obtain_openid_tokens(rp)["id_token"]
    eve = sign_in_new_account(Browser(app.test_client(), rp.client), runtime, "eve@example.org", "Eve")

    asked = logout(eve, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    assert asked.status_code == 200
    assert is_signed_in(eve)


def test_the_hint_of_another_sign_in_ends_nothing_by_itself(rp: Browser) -> None:
    """§4: a sid that is not the current session's is suspect, though the person is the same."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("second@example.org")
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.http.delete_cookie("valetkey_session")
    rp.sign_in("second@example.org")

    assert logout(rp, id_token_hint=hint).status_code == 200
    assert is_signed_in(rp)


def test_no_other_site_can_confirm(rp: Browser) -> None:
    """§2: cross-site request forgery."""
    forged = rp.http.post("/oauth/logout/confirm", data={"decision": "log-out", "client_id": rp.client.client_id})

    assert forged.status_code == 400
    assert is_signed_in(rp)


def test_the_confirmation_is_checked_like_the_request(rp: Browser) -> None:
    """§3: a hidden field is input too."""
    page = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    page_with_evil = type("Page", (), {"text": page.text.replace(POST_LOGOUT_REDIRECT_URI, "https://evil.example/")})

    refused = submit_logout_confirmation(rp, page_with_evil, "log-out")
    assert (refused.status_code, refused.location) == (400, None)


def test_a_parameter_sent_twice_is_refused(rp: Browser) -> None:
    """§2, RFC 6749 §3.1."""
    twice = f"/oauth/logout?post_logout_redirect_uri={POST_LOGOUT_REDIRECT_URI}&post_logout_redirect_uri=https://evil.example"

    assert rp.get(twice).status_code == 400


def test_what_is_unknown_or_about_languages_is_ignored(rp: Browser) -> None:
    """§2: no error for ui_locales, nor for what is not understood."""
    hint = obtain_openid_tokens(rp)["id_token"]
    done = logout(
        rp,
        id_token_hint=hint,
        ui_locales="tlh fr",
        logout_hint="ada",
        more="x",
        post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI,
    )

    assert done.location == POST_LOGOUT_REDIRECT_URI


def test_a_pairwise_hint_names_the_person(register: Register, ada: Browser) -> None:
    """§2, OpenID Connect Core §8."""
    members = {"subject_type": "pairwise", "post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI]}
    rp = with_client(ada, register(members=members))
    hint = obtain_openid_tokens(rp)["id_token"]

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


@pytest.mark.parametrize("uri", ["http://shop.example/after", "javascript:x", "https://shop.example/#f", "after"])
def test_an_address_that_is_no_place_to_go_is_not_registered(register: Register, uri: str) -> None:
    """§3.1."""
    with pytest.raises(RegistrationRefused, match="post_logout_redirect_uris"):
        register(members={"post_logout_redirect_uris": [uri]})


def test_a_sign_in_that_was_only_renewed_keeps_its_name(rp: Browser) -> None:
    """§4, Back-Channel §2.1: the hint from before prompt=login still names the session."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("renewed@example.org")
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.sign_in("renewed@example.org")

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )
