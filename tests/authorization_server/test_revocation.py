"""Revocation (RFC 7009): an access token takes its refresh token with it, and back."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import Register
from tests.support.browser_client import Browser, assert_store_unchanged, count_rows
from valetkey.runtime import Runtime

pytestmark = pytest.mark.usefixtures("issued")


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
def test_either_token_takes_the_other_with_it(ada: Browser, which: str, hint: str | None) -> None:
    answer = ada.obtain_tokens()

    revoked = ada.revoke(answer[which], token_type_hint=hint)

    assert revoked.status_code == 200
    assert ada.call(answer["access_token"]).status_code == 401
    check_refusal(ada.refresh(answer["refresh_token"]), "invalid_grant")


def test_revoking_twice_is_fine_and_writes_once(ada: Browser, runtime: Runtime) -> None:
    answer = ada.obtain_tokens()
    ada.revoke(answer["refresh_token"])
    with assert_store_unchanged(runtime):
        assert ada.revoke(answer["refresh_token"]).status_code == 200
        assert ada.revoke(answer["access_token"]).status_code == 200


def test_a_new_grant_is_not_touched_by_the_revocation_of_an_old_one(ada: Browser) -> None:
    old, new = ada.obtain_tokens(), ada.obtain_tokens()

    ada.revoke(old["access_token"])

    assert ada.call(new["access_token"]).status_code == 200
    assert ada.refresh(new["refresh_token"]).status_code == 200


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_another_clients_token_is_not_revoked(ada: Browser, register: Register, runtime: Runtime, which: str) -> None:
    other = Browser(ada.http, register(name="Other"))
    answer = ada.obtain_tokens()
    with assert_store_unchanged(runtime):
        check_refusal(other.revoke(answer[which]), "unauthorized_client")

    assert ada.call(answer["access_token"]).status_code == 200


def test_a_public_client_revokes_by_naming_itself(ada: Browser, register: Register) -> None:
    browser_app = Browser(ada.http, register("browser"))
    answer = browser_app.obtain_tokens()

    assert browser_app.revoke(answer["refresh_token"]).status_code == 200
    assert ada.call(answer["access_token"]).status_code == 401


def test_a_machine_revokes_its_own_token_only(app: Flask, register: Register, runtime: Runtime) -> None:
    robot = Browser(app.test_client(), register("machine"))
    one, two = (robot.request_token("client_credentials").json["access_token"] for _ in range(2))

    robot.revoke(one)

    assert robot.call(one).status_code == 401
    assert robot.call(two).status_code == 200
    assert count_rows(runtime.store, "valetkey_revocations") == 1


def test_a_refresh_token_whose_answer_was_lost_still_ends_the_grant(ada: Browser) -> None:
    used = ada.obtain_tokens()["refresh_token"]
    lost = ada.refresh(used).json

    assert ada.revoke(used).status_code == 200

    check_refusal(ada.refresh(used), "invalid_grant")  # within the window it would have given the same again
    check_refusal(ada.refresh(lost["refresh_token"]), "invalid_grant")
    assert ada.call(lost["access_token"]).status_code == 401


def test_a_revoked_token_is_told_from_an_expired_one_to_nobody_but_the_bearer(ada: Browser) -> None:
    answer = ada.obtain_tokens()
    ada.revoke(answer["access_token"])

    assert "revoked" in ada.call(answer["access_token"]).headers["WWW-Authenticate"]
    assert ada.introspect(answer["access_token"]).json == {"active": False}
