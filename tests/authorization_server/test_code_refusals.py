"""What is refused at the token endpoint for a code (RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9700 §4.5)."""

from __future__ import annotations

import re

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Register
from tests.support.browser_client import EMAIL, Browser, Clock, assert_store_unchanged, count_rows
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, grants
from valetkey.storage.engine.transaction import Transaction

pytestmark = pytest.mark.usefixtures("issued")


def check_refusal(refused: TestResponse, error: str, status: int = 400) -> None:
    """The form of every refusal of a machine endpoint (RFC 6749 §5.2)."""
    assert (refused.status_code, refused.json["error"]) == (status, error), refused.text
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", refused.json["error_description"])
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.headers["Cache-Control"] == "no-store"
    assert refused.headers["Pragma"] == "no-cache"
    assert "access_token" not in refused.json


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
def test_a_code_is_good_only_with_what_it_was_made_for(ada: Browser, runtime: Runtime, case: str) -> None:
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


def test_a_code_lives_until_it_expires(ada: Browser, clock: Clock) -> None:
    code = ada.obtain_code()
    clock.forward(seconds=59)

    assert ada.redeem(code).status_code == 200


def test_another_client_can_neither_use_nor_spoil_a_code(ada: Browser, register: Register, runtime: Runtime) -> None:
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


def test_a_code_used_twice_kills_the_tokens_it_gave(ada: Browser, runtime: Runtime) -> None:
    code = ada.obtain_code()
    answer = ada.redeem(code).json
    tokens = count_rows(runtime.store, "valetkey_refresh_tokens")

    again = ada.redeem(code)

    check_refusal(again, "invalid_grant")
    assert ada.call(answer["access_token"]).status_code == 401
    check_refusal(ada.refresh(answer["refresh_token"]), "invalid_grant")
    assert count_rows(runtime.store, "valetkey_refresh_tokens") == tokens


def test_a_code_used_again_after_it_expired_still_kills_the_tokens(ada: Browser, clock: Clock) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]
    clock.forward(seconds=120)

    ada.redeem(code)

    assert ada.call(token).status_code == 401


def test_who_comes_second_at_the_same_moment_kills_the_tokens_too(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``races/`` shows it with 200 at once; here the second has read the code before the first used it up."""
    code = ada.obtain_code()
    read_before = grants.find_code(runtime.store, Secret(code).digest())
    token = ada.redeem(code).json["access_token"]
    monkeypatch.setattr(grants, "find_code", lambda *_: read_before)

    check_refusal(ada.redeem(code), "invalid_grant")

    assert ada.call(token).status_code == 401


def test_a_thief_without_the_verifier_cannot_kill_the_token(ada: Browser) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]

    check_refusal(ada.redeem(code, code_verifier="w" * 43), "invalid_grant")

    assert ada.call(token).status_code == 200


def test_a_thief_without_the_redirect_uri_cannot_kill_the_token(ada: Browser) -> None:
    code = ada.obtain_code()
    token = ada.redeem(code).json["access_token"]

    check_refusal(ada.redeem(code, redirect_uri="https://evil.example/"), "invalid_grant")

    assert ada.call(token).status_code == 200


def test_a_code_is_worth_nothing_once_its_owner_is_out(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    code = ada.obtain_code()
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))
    with assert_store_unchanged(runtime):
        check_refusal(ada.redeem(code), "invalid_grant")


def test_a_code_is_worth_nothing_once_consent_is_taken_back(ada: Browser) -> None:
    code = ada.obtain_code()
    ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    check_refusal(ada.redeem(code), "invalid_grant")


def test_no_kind_of_token_passes_for_a_code(ada: Browser, runtime: Runtime) -> None:
    answer = ada.obtain_tokens()
    for token in (answer["access_token"], answer["refresh_token"], ada.client.secret.reveal()):
        with assert_store_unchanged(runtime):
            check_refusal(ada.redeem(token), "invalid_grant")


def test_a_code_is_no_refresh_token_and_no_access_token(ada: Browser) -> None:
    code = ada.obtain_code()

    check_refusal(ada.refresh(code), "invalid_grant")
    assert ada.call(code).status_code == 401
    assert ada.introspect(code).json == {"active": False}
