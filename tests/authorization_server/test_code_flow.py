"""The authorization code grant, end to end (RFC 6749 §4.1, RFC 7636, RFC 9207, RFC 9068)."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.conftest import Register
from tests.support.browser_client import (
    CALLBACK,
    ISSUER,
    PASSWORD,
    Browser,
    Clock,
    assert_store_unchanged,
    count_rows,
    redirect_parameters,
)
from valetkey.runtime import Runtime

pytestmark = pytest.mark.usefixtures("issued")


def test_a_client_gets_a_token_and_calls_the_api(ada: Browser) -> None:
    redeemed = ada.redeem(ada.obtain_code())

    assert redeemed.status_code == 200
    assert redeemed.headers["Cache-Control"] == "no-store"
    assert redeemed.headers["Pragma"] == "no-cache"
    answer = redeemed.json
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 900, "profile")
    called = ada.call(answer["access_token"])
    assert called.status_code == 200
    assert called.json["client"] == ada.client.client_id
    assert called.json["user"]


def test_the_code_comes_back_with_state_and_issuer(ada: Browser) -> None:
    answered = ada.approve(ada.authorize().location)

    assert answered.status_code == 303
    assert answered.location.startswith(f"{CALLBACK}?")
    assert set(redirect_parameters(answered)) == {"code", "state", "iss"}
    assert (redirect_parameters(answered)["state"], redirect_parameters(answered)["iss"]) == ("xyz", ISSUER)


def test_no_credential_is_in_the_url_of_the_consent_page(ada: Browser) -> None:
    asked = ada.authorize()

    assert asked.status_code == 303
    assert "code_challenge" not in asked.location
    assert "state" not in asked.location


def test_an_access_token_is_a_jwt_as_rfc_9068_has_it(ada: Browser, clock: Clock) -> None:
    token = ada.obtain_tokens()["access_token"]
    keys = KeySet.import_key_set(ada.get("/oauth/jwks").json)

    read = jwt.decode(token, keys, algorithms=["ES256"])

    assert read.header["typ"] == "at+jwt"
    assert read.claims["iss"] == read.claims["aud"] == ISSUER
    assert read.claims["client_id"] == ada.client.client_id
    assert read.claims["scope"] == "profile"
    assert read.claims["exp"] == read.claims["iat"] + 900 == int(clock()) + 900
    assert {"sub", "jti", "auth_time"} <= read.claims.keys()
    assert PASSWORD not in str(read.claims)


def test_each_access_token_has_a_jti_of_its_own(ada: Browser) -> None:
    keys = KeySet.import_key_set(ada.get("/oauth/jwks").json)

    tokens = [ada.obtain_tokens()["access_token"] for _ in range(3)]

    assert len({jwt.decode(token, keys, algorithms=["ES256"]).claims["jti"] for token in tokens}) == 3


def test_codes_tokens_and_secrets_are_kept_as_digests_only(ada: Browser, runtime: Runtime) -> None:
    code = ada.obtain_code()
    answer = ada.redeem(code).json
    secrets = [code, answer["access_token"], answer["refresh_token"], ada.client.secret.reveal(), PASSWORD]

    everything = dump(runtime)

    assert not [secret for secret in secrets if secret.encode() in everything]


def dump(runtime: Runtime) -> bytes:
    """Every cell of every table, as bytes."""
    from sqlalchemy import select

    from valetkey.storage.engine.statement import Statement
    from valetkey.storage.tables import metadata

    rows = [row for table in metadata.sorted_tables for row in runtime.store.fetch_all(Statement(select(table))())]
    return b"\n".join(bytes(c) if isinstance(c, bytes | memoryview) else str(c).encode() for row in rows for c in row)


def test_a_second_request_for_the_same_scope_is_not_asked_about(ada: Browser) -> None:
    ada.obtain_tokens()

    again = ada.authorize()

    assert again.location.startswith(f"{CALLBACK}?code=")


def test_a_native_app_is_asked_about_each_time(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://127.0.0.1/cb"]))
    native.obtain_code(redirect_uri="http://127.0.0.1:49152/cb")

    again = native.authorize(redirect_uri="http://127.0.0.1:50000/cb")

    assert "/consent/" in again.location


def test_a_native_app_gets_its_answer_on_the_port_that_it_listens_on(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://127.0.0.1/cb"]))

    answered = native.approve(native.authorize(redirect_uri="http://127.0.0.1:49152/cb").location)

    assert answered.location.startswith("http://127.0.0.1:49152/cb?code=")
    assert (
        native.redeem(redirect_parameters(answered)["code"], redirect_uri="http://127.0.0.1:49152/cb").status_code
        == 200
    )


def test_a_browser_app_redeems_without_a_secret(ada: Browser, register: Register) -> None:
    browser_app = Browser(ada.http, register("browser"))

    assert browser_app.redeem(browser_app.obtain_code()).status_code == 200


def test_the_owner_grants_fewer_scopes(ada: Browser) -> None:
    asked = ada.authorize(scope="notes:read profile")
    answered = ada.approve(asked.location, scope=("notes:read",))

    redeemed = ada.redeem(redirect_parameters(answered)["code"])

    assert redeemed.json["scope"] == "notes:read"
    assert ada.call(redeemed.json["access_token"]).status_code == 403


def test_nobody_can_tick_a_scope_that_was_not_asked_for(ada: Browser) -> None:
    answered = ada.approve(ada.authorize(scope="profile").location, scope=("profile", "notes:write"))

    assert ada.redeem(redirect_parameters(answered)["code"]).json["scope"] == "profile"


def test_the_owner_says_no(ada: Browser, runtime: Runtime) -> None:
    asked = ada.authorize()
    with assert_store_unchanged(runtime):
        answered = ada.approve(asked.location, "deny")

    assert answered.status_code == 303
    assert redirect_parameters(answered)["error"] == "access_denied"
    assert (redirect_parameters(answered)["state"], redirect_parameters(answered)["iss"]) == ("xyz", ISSUER)


def test_a_request_is_answered_once(ada: Browser, runtime: Runtime) -> None:
    asked = ada.authorize(scope="notes:read")
    ada.approve(asked.location, scope=("notes:read",))
    codes = count_rows(runtime.store, "valetkey_codes")

    again = ada.get(asked.location)

    assert again.status_code == 400
    assert "Location" not in again.headers
    assert count_rows(runtime.store, "valetkey_codes") == codes


def test_a_request_that_waits_too_long_is_over(ada: Browser, clock: Clock) -> None:
    asked = ada.authorize()
    clock.forward(seconds=601)

    assert ada.get(asked.location).status_code == 400


def test_the_redirect_uri_may_be_left_out_with_pkce_or_where_it_was_not_sent(ada: Browser) -> None:
    assert ada.redeem(ada.obtain_code(), redirect_uri=None).status_code == 200
    assert ada.redeem(ada.obtain_code(redirect_uri=None), redirect_uri=None).status_code == 200


def test_scope_left_out_means_all_that_the_client_may_ask_for(ada: Browser) -> None:
    asked = ada.authorize(scope=None)

    page = ada.get(asked.location).text

    assert all(f'id="scope-{scope}"' in page for scope in ("profile", "notes:read", "notes:write"))


def test_a_post_to_the_authorization_endpoint_goes_on_as_get(ada: Browser) -> None:
    posted = ada.http.post("/oauth/authorize", data=ada.authorization_parameters())

    assert posted.status_code == 303
    assert "/consent/" in ada.get(posted.location).location
