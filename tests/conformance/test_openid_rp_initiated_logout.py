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
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.runtime import Runtime


@pytest.fixture
def rp(register: Register, ada: Browser) -> Browser:
    """Ada's browser at a relying party with two post-logout redirect URIs."""
    return with_client(
        ada,
        register(
            members={"post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI, f"{POST_LOGOUT_REDIRECT_URI}?from=logout"]}
        ),
    )


def logout(browser: Browser, **parameters: str) -> Any:
    """Send a logout request."""
    return browser.get("/oauth/logout", query_string=parameters)


def test_discovery_contains_the_endpoint(rp: Browser) -> None:
    """§2.1."""
    assert rp.get("/.well-known/openid-configuration").json["end_session_endpoint"] == f"{ISSUER}/oauth/logout"


def test_the_hint_of_the_current_session_signs_the_user_out_and_redirects(rp: Browser) -> None:
    """§2, §3."""
    hint = obtain_openid_tokens(rp)["id_token"]
    response = logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI, state="a b&c")

    assert response.status_code == 303
    assert response.location.startswith(POST_LOGOUT_REDIRECT_URI)
    assert redirect_parameters(response) == {"state": "a b&c"}  # §3: returned unchanged
    assert not is_signed_in(rp)


def test_without_state_the_redirect_uri_is_not_changed(rp: Browser) -> None:
    """§3."""
    hint = obtain_openid_tokens(rp)["id_token"]

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


def test_state_is_added_to_the_query_of_the_redirect_uri(rp: Browser) -> None:
    """§3."""
    hint = obtain_openid_tokens(rp)["id_token"]
    response = logout(
        rp, id_token_hint=hint, post_logout_redirect_uri=f"{POST_LOGOUT_REDIRECT_URI}?from=logout", state="x"
    )

    assert response.location == f"{POST_LOGOUT_REDIRECT_URI}?from=logout&state=x"


def test_a_logout_request_may_be_sent_by_post(rp: Browser) -> None:
    """§2: GET and POST must be supported."""
    hint = obtain_openid_tokens(rp)["id_token"]
    response = rp.http.post(
        "/oauth/logout", data={"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    )

    assert response.status_code == 303
    assert rp.get(response.location).location == POST_LOGOUT_REDIRECT_URI
    assert not is_signed_in(rp)


def test_a_posted_hint_does_not_appear_in_a_url(rp: Browser, clock: Clock) -> None:
    """§2: clients post a hint so that it is in no log; the redirect has it encrypted, valid for ten minutes."""
    hint = obtain_openid_tokens(rp)["id_token"]
    form = {"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}

    location = rp.http.post("/oauth/logout", data=form).location
    assert not any(part in location for part in hint.split("."))
    modified = location.replace("sealed.", "sealed.A", 1)
    assert rp.get(modified).status_code == 400
    clock.forward(seconds=601)
    expired = rp.get(location)
    assert (expired.status_code, "This link has expired" in expired.text) == (400, True)
    assert is_signed_in(rp)

    assert rp.get(rp.http.post("/oauth/logout", data=form).location).location == POST_LOGOUT_REDIRECT_URI
    assert not is_signed_in(rp)


def test_a_user_may_confirm_later_and_the_form_shows_no_hint(rp: Browser, clock: Clock) -> None:
    """§2: the hint is of an earlier session, so the user is asked; the answer may take longer than a redirect."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("second@example.org")
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.http.delete_cookie("valetkey_session")
    rp.sign_in("second@example.org")
    form = {"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    page = rp.get(rp.http.post("/oauth/logout", data=form).location)
    assert page.status_code == 200 and not any(part in page.text for part in hint.split("."))
    clock.forward(seconds=3600)

    assert submit_logout_confirmation(rp, page, "log-out").location == POST_LOGOUT_REDIRECT_URI


def test_a_posted_hint_is_accepted_by_a_server_whose_clock_is_slow(rp: Browser, clock: Clock) -> None:
    hint = obtain_openid_tokens(rp)["id_token"]
    location = rp.http.post("/oauth/logout", data={"id_token_hint": hint}).location
    clock.forward(seconds=-2)

    assert rp.get(location).status_code == 200
    assert not is_signed_in(rp)


def test_an_expired_hint_is_accepted(rp: Browser, clock: Clock) -> None:
    """§2, §4."""
    hint = obtain_openid_tokens(rp)["id_token"]
    clock.forward(7200)

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


def test_without_a_hint_the_user_must_confirm(rp: Browser) -> None:
    """§2: the provider asks the user whether to log out."""
    page = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI, state="x")

    assert page.status_code == 200
    assert "Shop" in page.text
    assert is_signed_in(rp)
    assert submit_logout_confirmation(rp, page, "log-out").location == f"{POST_LOGOUT_REDIRECT_URI}?state=x"
    assert not is_signed_in(rp)


def test_a_user_who_declines_stays_signed_in_and_is_not_redirected(rp: Browser) -> None:
    """§2, §3: a redirect requires a logout."""
    page = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    response = submit_logout_confirmation(rp, page, "stay")

    assert (response.status_code, response.location) == (200, None)
    assert is_signed_in(rp)


def test_without_parameters_the_user_must_confirm_and_then_sees_a_page(rp: Browser) -> None:
    """§2: every parameter is optional."""
    page = logout(rp)
    response = submit_logout_confirmation(rp, page, "log-out")

    assert (response.status_code, response.location) == (200, None)
    assert "You are signed out" in response.text
    assert not is_signed_in(rp)


def test_with_only_a_state_there_is_no_redirect(rp: Browser) -> None:
    """§2."""
    assert submit_logout_confirmation(rp, logout(rp, state="x"), "log-out").location is None


def test_a_user_who_is_already_signed_out_is_redirected(rp: Browser, app: Flask) -> None:
    """§4: the session may have ended before the logout request."""
    signed_out = with_client(Browser(app.test_client(), rp.client), rp.client)

    assert (
        logout(signed_out, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )
    assert "You are signed out" in logout(signed_out).text


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
def test_an_unregistered_redirect_uri_is_refused(rp: Browser, uri: str) -> None:
    """§3: exact match; a page shows the error and the user stays signed in."""
    hint = obtain_openid_tokens(rp)["id_token"]
    for parameters in ({"id_token_hint": hint}, {"client_id": rp.client.client_id}):
        refused = logout(rp, **parameters, post_logout_redirect_uri=uri)
        assert (refused.status_code, refused.location) == (400, None)
    assert is_signed_in(rp)


def test_a_redirect_uri_without_a_hint_or_client_id_is_refused(rp: Browser) -> None:
    """§3: the provider must confirm that the URI belongs to the relying party."""
    assert logout(rp, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).status_code == 400


def test_the_redirect_uri_of_another_client_is_refused(rp: Browser, shop: Any) -> None:
    """§3."""
    hint = obtain_openid_tokens(with_client(rp, shop))["id_token"]

    assert logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).status_code == 400


@pytest.mark.parametrize("defect", ["changed", "unsigned", "nonsense", "access token"])
def test_a_hint_that_is_not_an_id_token_of_this_provider_is_refused(rp: Browser, defect: str) -> None:
    """§2: the provider must validate that it issued the ID token."""
    tokens = obtain_openid_tokens(rp)
    header, payload, signature = tokens["id_token"].split(".")
    hints = {
        "changed": f"{header}.{payload[:-2]}{'AA' if payload[-2:] != 'AA' else 'BB'}.{signature}",
        "unsigned": f"eyJhbGciOiJub25lIn0.{payload}.",
        "nonsense": "nonsense",
        "access token": tokens["access_token"],
    }
    refused = logout(rp, id_token_hint=hints[defect], post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)

    assert (refused.status_code, refused.location) == (400, None)
    assert is_signed_in(rp)


def test_a_client_id_that_does_not_match_the_hint_is_refused(rp: Browser, shop: Any) -> None:
    """§2: if both are present, they must match."""
    hint = obtain_openid_tokens(rp)["id_token"]

    assert logout(rp, id_token_hint=hint, client_id=shop.client_id).status_code == 400
    assert is_signed_in(rp)


def test_the_hint_of_another_user_does_not_sign_out_without_confirmation(
    rp: Browser, app: Flask, runtime: Runtime
) -> None:
    """§2: the user is asked if the hint is for another user."""
    hint = obtain_openid_tokens(rp)["id_token"]
    eve = sign_in_new_account(Browser(app.test_client(), rp.client), runtime, "eve@example.org", "Eve")

    page = logout(eve, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    assert page.status_code == 200
    assert is_signed_in(eve)


def test_the_hint_of_another_session_does_not_sign_out_without_confirmation(rp: Browser) -> None:
    """§4: a sid of another session is suspect, even if the user is the same."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("second@example.org")
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.http.delete_cookie("valetkey_session")
    rp.sign_in("second@example.org")

    assert logout(rp, id_token_hint=hint).status_code == 200
    assert is_signed_in(rp)


def test_another_site_cannot_submit_the_confirmation(rp: Browser) -> None:
    """§2: cross-site request forgery."""
    forged = rp.http.post("/oauth/logout/confirm", data={"decision": "log-out", "client_id": rp.client.client_id})

    assert forged.status_code == 400
    assert is_signed_in(rp)


def test_the_hidden_fields_of_the_confirmation_are_checked_again(rp: Browser) -> None:
    """§3: hidden fields are user input."""
    page = logout(rp, client_id=rp.client.client_id, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI)
    page_with_evil = type("Page", (), {"text": page.text.replace(POST_LOGOUT_REDIRECT_URI, "https://evil.example/")})

    refused = submit_logout_confirmation(rp, page_with_evil, "log-out")
    assert (refused.status_code, refused.location) == (400, None)


def test_a_parameter_sent_twice_is_refused(rp: Browser) -> None:
    """§2, RFC 6749 §3.1."""
    url = f"/oauth/logout?post_logout_redirect_uri={POST_LOGOUT_REDIRECT_URI}&post_logout_redirect_uri=https://evil.example"

    assert rp.get(url).status_code == 400


def test_unknown_parameters_and_hints_are_ignored(rp: Browser) -> None:
    """§2: ui_locales, logout_hint and unknown parameters cause no error."""
    hint = obtain_openid_tokens(rp)["id_token"]
    response = logout(
        rp,
        id_token_hint=hint,
        ui_locales="tlh fr",
        logout_hint="ada",
        more="x",
        post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI,
    )

    assert response.location == POST_LOGOUT_REDIRECT_URI


def test_the_hint_of_a_pairwise_client_signs_the_user_out(register: Register, ada: Browser) -> None:
    """§2, OpenID Connect Core §8."""
    members = {"subject_type": "pairwise", "post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI]}
    rp = with_client(ada, register(members=members))
    hint = obtain_openid_tokens(rp)["id_token"]

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )


@pytest.mark.parametrize("uri", ["http://shop.example/after", "javascript:x", "https://shop.example/#f", "after"])
def test_an_invalid_post_logout_redirect_uri_is_not_registered(register: Register, uri: str) -> None:
    """§3.1."""
    with pytest.raises(RegistrationRefused, match="post_logout_redirect_uris"):
        register(members={"post_logout_redirect_uris": [uri]})


def test_a_renewed_sign_in_keeps_its_sid(rp: Browser) -> None:
    """§4, Back-Channel §2.1: the hint from before prompt=login still names the session."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("renewed@example.org")
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.sign_in("renewed@example.org")

    assert (
        logout(rp, id_token_hint=hint, post_logout_redirect_uri=POST_LOGOUT_REDIRECT_URI).location
        == POST_LOGOUT_REDIRECT_URI
    )
