"""Token revocation (RFC 7009)."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import Browser
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.runtime import Runtime

pytestmark = pytest.mark.usefixtures("issuing_process")


@pytest.mark.parametrize("member", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
def test_revoking_either_token_revokes_the_other(ada: Browser, member: str, hint: str | None) -> None:
    tokens = ada.obtain_tokens()

    revoked = ada.revoke(tokens[member], token_type_hint=hint)

    assert revoked.status_code == 200
    assert ada.call(tokens["access_token"]).status_code == 401
    check_refusal(ada.refresh(tokens["refresh_token"]), "invalid_grant")


def test_revoking_twice_succeeds_and_writes_once(ada: Browser, runtime: Runtime) -> None:
    tokens = ada.obtain_tokens()
    ada.revoke(tokens["refresh_token"])
    with assert_store_unchanged(runtime):
        assert ada.revoke(tokens["refresh_token"]).status_code == 200
        assert ada.revoke(tokens["access_token"]).status_code == 200


def test_revoking_an_old_grant_does_not_affect_a_new_one(ada: Browser) -> None:
    old, new = ada.obtain_tokens(), ada.obtain_tokens()

    ada.revoke(old["access_token"])

    assert ada.call(new["access_token"]).status_code == 200
    assert ada.refresh(new["refresh_token"]).status_code == 200


@pytest.mark.parametrize("member", ["access_token", "refresh_token"])
def test_a_client_cannot_revoke_the_token_of_another_client(
    ada: Browser, register: Register, runtime: Runtime, member: str
) -> None:
    other = Browser(ada.http, register(name="Other"))
    tokens = ada.obtain_tokens()
    with assert_store_unchanged(runtime):
        check_refusal(other.revoke(tokens[member]), "unauthorized_client")

    assert ada.call(tokens["access_token"]).status_code == 200


def test_a_public_client_can_revoke_with_its_client_id(ada: Browser, register: Register) -> None:
    browser_app = Browser(ada.http, register("browser"))
    tokens = browser_app.obtain_tokens()

    assert browser_app.revoke(tokens["refresh_token"]).status_code == 200
    assert ada.call(tokens["access_token"]).status_code == 401


def test_revoking_a_machine_token_does_not_affect_other_tokens_of_the_machine(
    app: Flask, register: Register, runtime: Runtime
) -> None:
    machine = Browser(app.test_client(), register("machine"))
    first, second = (machine.request_token("client_credentials").json["access_token"] for _ in range(2))
    announced = count_rows(runtime.store, "valetkey_revocations")

    machine.revoke(first)

    assert machine.call(first).status_code == 401
    assert machine.call(second).status_code == 200
    assert count_rows(runtime.store, "valetkey_revocations") == announced + 1


def test_a_used_refresh_token_can_still_revoke_its_grant(ada: Browser) -> None:
    used = ada.obtain_tokens()["refresh_token"]
    lost = ada.refresh(used).json

    assert ada.revoke(used).status_code == 200

    check_refusal(ada.refresh(used), "invalid_grant")  # within the retry window it would have returned the same tokens
    check_refusal(ada.refresh(lost["refresh_token"]), "invalid_grant")
    assert ada.call(lost["access_token"]).status_code == 401


def test_only_the_bearer_learns_that_a_token_was_revoked(ada: Browser) -> None:
    tokens = ada.obtain_tokens()
    ada.revoke(tokens["access_token"])

    assert "revoked" in ada.call(tokens["access_token"]).headers["WWW-Authenticate"]
    assert ada.introspect(tokens["access_token"]).json == {"active": False}
