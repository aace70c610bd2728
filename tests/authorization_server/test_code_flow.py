"""The authorization code grant, end to end (RFC 6749 §4.1, RFC 7636, RFC 9207, RFC 9068)."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.app import Register
from tests.support.browser_client import CALLBACK, ISSUER, Browser, redirect_parameters
from tests.support.clock import Clock
from tests.support.store_assertions import count_protocol_rows, count_rows, dump_store
from tests.support.user import PASSWORD
from valetkey.runtime import Runtime

pytestmark = pytest.mark.usefixtures("issuing_process")


def test_a_client_gets_a_token_and_calls_the_api(ada: Browser) -> None:
    redeemed = ada.redeem(ada.obtain_code())

    assert redeemed.status_code == 200
    assert redeemed.headers["Cache-Control"] == "no-store"
    assert redeemed.headers["Pragma"] == "no-cache"
    tokens = redeemed.json
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 900, "profile")
    api_response = ada.call(tokens["access_token"])
    assert api_response.status_code == 200
    assert api_response.json["client"] == ada.client.client_id
    assert api_response.json["user"]


def test_the_redirect_contains_code_state_and_issuer(ada: Browser) -> None:
    response = ada.approve(ada.authorize().location)

    assert response.status_code == 303
    assert response.location.startswith(f"{CALLBACK}?")
    assert set(redirect_parameters(response)) == {"code", "state", "iss"}
    assert (redirect_parameters(response)["state"], redirect_parameters(response)["iss"]) == ("xyz", ISSUER)


def test_the_url_of_the_consent_page_contains_no_request_parameters(ada: Browser) -> None:
    redirect = ada.authorize()

    assert redirect.status_code == 303
    assert "code_challenge" not in redirect.location
    assert "state" not in redirect.location


def test_an_access_token_is_a_jwt_of_rfc_9068(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["access_token"]
    keys = KeySet.import_key_set(ada.get("/oauth/jwks").json)

    decoded = jwt.decode(token, keys, algorithms=["ES256"])

    assert decoded.header["typ"] == "at+jwt"
    assert decoded.claims["iss"] == decoded.claims["aud"] == ISSUER
    assert decoded.claims["client_id"] == ada.client.client_id
    assert decoded.claims["scope"] == "profile"
    assert decoded.claims["exp"] == decoded.claims["iat"] + 900 == int(clock()) + 900
    assert {"sub", "jti", "auth_time"} <= decoded.claims.keys()
    assert PASSWORD not in str(decoded.claims)


def test_each_access_token_has_a_unique_jti(ada: Browser) -> None:
    keys = KeySet.import_key_set(ada.get("/oauth/jwks").json)

    tokens = [ada.obtain_tokens()["access_token"] for _ in range(3)]

    assert len({jwt.decode(token, keys, algorithms=["ES256"]).claims["jti"] for token in tokens}) == 3


def test_codes_tokens_and_secrets_are_stored_as_digests_only(ada: Browser, runtime: Runtime) -> None:
    code = ada.obtain_code()
    tokens = ada.redeem(code).json
    secrets = [code, tokens["access_token"], tokens["refresh_token"], ada.client.secret.reveal(), PASSWORD]

    content = dump_store(runtime)

    assert not [secret for secret in secrets if secret.encode() in content]


def test_a_second_request_for_the_same_scope_needs_no_consent(ada: Browser) -> None:
    ada.obtain_tokens()

    again = ada.authorize()

    assert again.location.startswith(f"{CALLBACK}?code=")


def test_a_native_client_needs_consent_each_time(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://127.0.0.1/cb"]))
    native.obtain_code(redirect_uri="http://127.0.0.1:49152/cb")

    again = native.authorize(redirect_uri="http://127.0.0.1:50000/cb")

    assert "/consent/" in again.location


def test_a_native_client_is_redirected_to_the_port_that_it_requested(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://127.0.0.1/cb"]))

    response = native.approve(native.authorize(redirect_uri="http://127.0.0.1:49152/cb").location)

    assert response.location.startswith("http://127.0.0.1:49152/cb?code=")
    assert (
        native.redeem(redirect_parameters(response)["code"], redirect_uri="http://127.0.0.1:49152/cb").status_code
        == 200
    )


def test_a_browser_client_redeems_a_code_without_a_secret(ada: Browser, register: Register) -> None:
    browser_app = Browser(ada.http, register("browser"))

    assert browser_app.redeem(browser_app.obtain_code()).status_code == 200


def test_an_owner_can_grant_fewer_scopes_than_requested(ada: Browser) -> None:
    redirect = ada.authorize(scope="notes:read profile")
    response = ada.approve(redirect.location, scope=("notes:read",))

    redeemed = ada.redeem(redirect_parameters(response)["code"])

    assert redeemed.json["scope"] == "notes:read"
    assert ada.call(redeemed.json["access_token"]).status_code == 403


def test_an_owner_cannot_grant_a_scope_that_was_not_requested(ada: Browser) -> None:
    response = ada.approve(ada.authorize(scope="profile").location, scope=("profile", "notes:write"))

    assert ada.redeem(redirect_parameters(response)["code"]).json["scope"] == "profile"


def test_a_denied_request_is_redirected_with_access_denied(ada: Browser, runtime: Runtime) -> None:
    redirect = ada.authorize()
    counts_before = count_protocol_rows(runtime.store)

    response = ada.deny(redirect.location)

    assert response.status_code == 303
    stored_response = {"valetkey_retry_answers": counts_before["valetkey_retry_answers"] + 1}  # for a second click
    assert count_protocol_rows(runtime.store) == counts_before | stored_response
    assert redirect_parameters(response)["error"] == "access_denied"
    assert (redirect_parameters(response)["state"], redirect_parameters(response)["iss"]) == ("xyz", ISSUER)


def test_a_request_is_decided_only_once(ada: Browser, runtime: Runtime) -> None:
    redirect = ada.authorize(scope="notes:read")
    first = ada.approve(redirect.location, scope=("notes:read",))
    code_count = count_rows(runtime.store, "valetkey_codes")

    again = ada.get(redirect.location)
    ada.redeem(redirect_parameters(first)["code"])
    after_redemption = ada.get(redirect.location)

    assert (again.status_code, again.location) == (303, first.location)
    assert (after_redemption.status_code, "Location" in after_redemption.headers) == (200, False)
    assert count_rows(runtime.store, "valetkey_codes") == code_count


def test_a_pending_request_expires(ada: Browser, clock: Clock) -> None:
    redirect = ada.authorize()
    clock.forward(seconds=601)

    assert ada.get(redirect.location).status_code == 400


def test_the_token_request_may_leave_out_the_redirect_uri_with_pkce_or_if_it_was_not_sent(ada: Browser) -> None:
    assert ada.redeem(ada.obtain_code(), redirect_uri=None).status_code == 200
    assert ada.redeem(ada.obtain_code(redirect_uri=None), redirect_uri=None).status_code == 200


def test_a_request_without_scope_requests_the_whole_registered_scope(ada: Browser) -> None:
    redirect = ada.authorize(scope=None)

    page = ada.get(redirect.location).text

    assert all(f'id="scope-{scope}"' in page for scope in ("profile", "notes:read", "notes:write"))


def test_a_post_to_the_authorization_endpoint_is_redirected_to_get(ada: Browser) -> None:
    posted = ada.http.post("/oauth/authorize", data=ada.authorization_parameters())

    assert posted.status_code == 303
    assert "/consent/" in ada.get(posted.location).location
