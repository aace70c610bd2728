"""Errors of authorization codes by the token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9700 §4.5)."""

from __future__ import annotations

import pytest

from tests.support.app import Register
from tests.support.browser_client import EMAIL, Browser
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, grants
from valetkey.storage.engine.transaction import Transaction

pytestmark = pytest.mark.usefixtures("issuing_process")


CODE_REFUSALS = {
    "wrong verifier": {"code_verifier": "w" * 43},
    "no verifier": {"code_verifier": None},
    "empty verifier": {"code_verifier": ""},
    "short verifier": {"code_verifier": "v" * 42},
    "long verifier": {"code_verifier": "v" * 129},
    "verifier with other characters": {"code_verifier": "v" * 42 + "!"},
    "verifier with a line break": {"code_verifier": "v" * 43 + "\n"},
    "not ASCII": {"code_verifier": "ü" * 43},
    "other redirect URI": {"redirect_uri": "https://shop.example/other"},
    "unknown code": {"code": "vk_ac_unknown"},
}


@pytest.mark.parametrize("case", CODE_REFUSALS)
def test_a_code_is_valid_only_with_the_verifier_and_redirect_uri_of_its_request(
    ada: Browser, runtime: Runtime, case: str
) -> None:
    code = ada.obtain_code()
    with assert_store_unchanged(runtime):
        refused = ada.redeem(**{"code": code, **CODE_REFUSALS[case]})

    check_refusal(refused, "invalid_grant")
    assert ada.redeem(code).status_code == 200, "a refusal must not use the code up"


def test_a_code_expires(ada: Browser, clock: Clock, runtime: Runtime) -> None:
    code = ada.obtain_code()
    clock.forward(seconds=60)
    with assert_store_unchanged(runtime):
        check_refusal(ada.redeem(code), "invalid_grant")


def test_a_code_is_valid_until_it_expires(ada: Browser, clock: Clock) -> None:
    code = ada.obtain_code()
    clock.forward(seconds=59)

    assert ada.redeem(code).status_code == 200


def test_another_client_can_neither_redeem_nor_invalidate_a_code(
    ada: Browser, register: Register, runtime: Runtime
) -> None:
    other = Browser(ada.http, register(name="Other"))
    code = ada.obtain_code()
    with assert_store_unchanged(runtime):
        check_refusal(other.redeem(code), "invalid_grant")

    assert ada.redeem(code).status_code == 200


def test_another_client_cannot_revoke_by_replaying_a_code(ada: Browser, register: Register) -> None:
    other = Browser(ada.http, register(name="Other"))
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]

    check_refusal(other.redeem(code), "invalid_grant")

    assert ada.call(token).status_code == 200


def test_a_code_used_twice_revokes_the_tokens_of_its_first_use(ada: Browser, runtime: Runtime) -> None:
    code = ada.obtain_code()
    tokens = ada.redeem(code).json
    token_count = count_rows(runtime.store, "valetkey_refresh_tokens")

    again = ada.redeem(code)

    check_refusal(again, "invalid_grant")
    assert ada.call(tokens["access_token"]).status_code == 401
    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")
    assert count_rows(runtime.store, "valetkey_refresh_tokens") == token_count


def test_replaying_an_expired_code_revokes_its_tokens(ada: Browser, clock: Clock) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]
    clock.forward(seconds=120)

    ada.redeem(code)

    assert ada.call(token).status_code == 401


def test_the_second_of_two_simultaneous_redemptions_revokes_the_tokens(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request reads the code before the first uses it; ``tests/races`` does it with 200 real requests."""
    code = ada.obtain_code()
    unused_code = grants.find_code(runtime.store, Secret(code).digest())
    token = ada.redeem(code).json["access_token"]
    monkeypatch.setattr(grants, "find_code", lambda *_: unused_code)

    check_refusal(ada.redeem(code), "invalid_grant")

    assert ada.call(token).status_code == 401


def test_a_replay_without_the_verifier_does_not_revoke_the_tokens(ada: Browser) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]

    check_refusal(ada.redeem(code, code_verifier="w" * 43), "invalid_grant")

    assert ada.call(token).status_code == 200


def test_a_replay_with_another_redirect_uri_does_not_revoke_the_tokens(ada: Browser) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]

    check_refusal(ada.redeem(code, redirect_uri="https://evil.example/"), "invalid_grant")

    assert ada.call(token).status_code == 200


def test_a_code_is_refused_after_its_owner_was_disabled(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    code = ada.obtain_code()
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))
    with assert_store_unchanged(runtime):
        check_refusal(ada.redeem(code), "invalid_grant")


def test_a_code_is_refused_after_its_consent_was_revoked(ada: Browser) -> None:
    code = ada.obtain_code()
    ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    check_refusal(ada.redeem(code), "invalid_grant")


def test_no_other_credential_is_accepted_as_a_code(ada: Browser, runtime: Runtime) -> None:
    tokens = ada.obtain_tokens()
    for credential in (tokens["access_token"], tokens["refresh_token"], ada.client.secret.reveal()):
        with assert_store_unchanged(runtime):
            check_refusal(ada.redeem(credential), "invalid_grant")


def test_a_code_is_not_accepted_as_a_token(ada: Browser) -> None:
    code = ada.obtain_code()

    check_refusal(ada.refresh(code), "invalid_grant")
    assert ada.call(code).status_code == 401
    assert ada.introspect(code).json == {"active": False}
