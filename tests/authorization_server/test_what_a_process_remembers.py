"""What a process has issued or seen it does not read again; what another process did since counts all the same."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import MakeApp, sign_in_new_account
from tests.support.browser_client import CALLBACK, EMAIL, Browser, Clock, redirect_parameters
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.caches.owners import OwnerCache
from valetkey.protocol import scope as scopes
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit, consents, grants
from valetkey.storage.consents import Consent
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    app = make_app(store_url, endpoints_bypass_flask=True)
    app.extensions["valetkey"].get_ready()
    return app


@pytest.fixture
def elsewhere(make_app: MakeApp, store_url: str, app: Flask, ada: Browser) -> Browser:
    """Ada's browser at another process on the same store."""
    other = make_app(store_url, endpoints_bypass_flask=True)
    other.extensions["valetkey"].get_ready()
    http = other.test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie is not None
        http.set_cookie(name, cookie.value)
    return Browser(http, ada.client)


@pytest.fixture
def questions(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the store from now on."""
    asked: list[str] = []
    rows = Store.fetch_all

    def noted(self: Store, bound: Any) -> Any:
        asked.append(bound.statement.compile(self.dialect).sql)
        return rows(self, bound)

    monkeypatch.setattr(Store, "fetch_all", noted)
    return asked


def refusal(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, (answer.json or {}).get("error_description", "")


def events(runtime: Runtime) -> list[str]:
    return [recorded.row.event for recorded in audit.list_latest(runtime.store, 50)]


def test_a_flow_like_the_one_before_asks_the_store_nothing(
    ada: Browser, runtime: Runtime, questions: list[str]
) -> None:
    ada.obtain_tokens()
    ada.obtain_tokens()
    runtime.feed.refresh(runtime.clock())
    questions.clear()

    tokens = ada.obtain_tokens()
    ada.refresh(tokens["refresh_token"])

    assert [sql for sql in questions if "valetkey_limits" not in sql] == []


def test_a_code_that_was_redeemed_elsewhere_ends_its_grant_here(ada: Browser, elsewhere: Browser) -> None:
    code = ada.obtain_code()
    tokens = elsewhere.redeem(code).json

    assert refusal(ada.redeem(code)) == (400, "the code was used before")
    assert refusal(elsewhere.refresh(tokens["refresh_token"])) == (400, "the grant was revoked")


WRONG = {"expired": {}, "for another resource": {"resource": "https://elsewhere.example"}}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_replay_ends_the_grant_whatever_else_is_wrong_with_it(
    ada: Browser, elsewhere: Browser, runtime: Runtime, clock: Clock, wrong: str
) -> None:
    code = ada.obtain_code()
    tokens = elsewhere.redeem(code).json
    clock.forward(61)

    assert refusal(ada.redeem(code, **WRONG[wrong])) == (400, "the code was used before")
    assert "code.replayed" in events(runtime)
    assert refusal(elsewhere.refresh(tokens["refresh_token"])) == (400, "the grant was revoked")


def test_a_used_refresh_token_ends_the_family_whatever_else_is_asked_for(
    ada: Browser, elsewhere: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    successor = elsewhere.refresh(token).json["refresh_token"]
    clock.forward(3600)

    assert refusal(ada.refresh(token, scope="profile notes:write")) == (400, "the refresh token was used before")
    assert "refresh_token.reused" in events(runtime)
    assert refusal(elsewhere.refresh(successor)) == (400, "the grant was revoked")


def test_what_is_refused_for_another_reason_is_not_used_up(ada: Browser) -> None:
    code = ada.obtain_code()
    assert ada.redeem(code, resource="https://elsewhere.example").json["error"] == "invalid_target"
    token = ada.redeem(code).json["refresh_token"]
    assert ada.refresh(token, scope="notes:write").json["error"] == "invalid_scope"
    assert ada.refresh(token).status_code == 200


def test_a_code_is_not_used_up_where_its_id_token_cannot_be_made(ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    code = ada.obtain_code(scope=("openid", "profile"))
    with monkeypatch.context() as down:
        down.setattr("valetkey.authorization_server.token.grants.issue.make_id_token", _fail)
        assert ada.redeem(code).status_code == 503

    assert ada.redeem(code).json["id_token"]


def _fail(*_: Any) -> Any:
    raise StoreUnavailable("nobody answers")


def test_a_code_whose_grant_was_taken_back_elsewhere_is_no_replay(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    code = ada.obtain_code()
    runtime.store.write(Transaction(rows=(grants.revoke_all_of_owner("ada", clock()),)))

    assert refusal(ada.redeem(code)) == (400, "the grant was revoked")
    assert "code.replayed" not in events(runtime)


def test_a_refresh_token_that_was_used_elsewhere_gets_that_answer_again(ada: Browser, elsewhere: Browser) -> None:
    first = ada.obtain_tokens()["refresh_token"]
    used = elsewhere.refresh(first)

    assert ada.refresh(first).data == used.data
    second = used.json["refresh_token"]
    assert ada.refresh(second).status_code == 200
    assert refusal(elsewhere.refresh(second))[0] == 200  # the same again
    assert refusal(ada.refresh(first)) == (400, "the refresh token was used before")
    assert refusal(elsewhere.refresh(second)) == (400, "the grant was revoked")


def test_a_refresh_token_whose_grant_was_taken_back_elsewhere_is_refused(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = ada.obtain_tokens()["refresh_token"]
    runtime.store.write(Transaction(rows=(grants.revoke_all_of_owner("ada", clock()),)))

    assert refusal(ada.refresh(token)) == (400, "the grant was revoked")
    assert "refresh_token.reused" not in events(runtime)


def test_a_grant_is_extended_once_a_day_not_at_each_refresh(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    """What is remembered of it includes that."""
    token, ends = ada.obtain_tokens()["refresh_token"], set()
    for _ in range(4):
        clock.forward(3600)
        token = ada.refresh(token).json["refresh_token"]
        ends.add(runtime.store.fetch_one(grants._FIND_GRANT(grant_id=_grant_of(runtime)))[9])
    assert len(ends) == 1
    clock.forward(86_400)
    ada.refresh(token)
    assert runtime.store.fetch_one(grants._FIND_GRANT(grant_id=_grant_of(runtime)))[9] > max(ends) + 86_400


def _grant_of(runtime: Runtime) -> str:
    [(_, grant)] = runtime.recent_refresh_tokens._entries.values()
    return grant.grant_id


def is_asked(answer: TestResponse) -> bool:
    """Whether the browser is sent to a page of ours, not to the client."""
    assert answer.status_code == 303
    return not answer.location.startswith(CALLBACK)


ENDS = {
    "signed out": lambda now, session: accounts.end_sessions("ada", now),
    "disabled": lambda now, session: accounts.set_disabled("ada", now),
    "taken back": lambda now, session: consents.remove("ada", session),
}


@pytest.mark.parametrize("case", ENDS)
def test_who_has_left_elsewhere_gets_no_code_here(ada: Browser, runtime: Runtime, clock: Clock, case: str) -> None:
    ada.obtain_code()
    ada.obtain_code()
    assert not is_asked(ada.authorize())
    runtime.store.write(Transaction(rows=(ENDS[case](clock(), ada.client.client_id),)))

    assert is_asked(ada.authorize())
    assert is_asked(ada.authorize())


def test_a_sign_in_that_is_over_gets_no_code(ada: Browser, clock: Clock) -> None:
    ada.obtain_code()
    ada.obtain_code()
    clock.forward(86_399)
    assert not is_asked(ada.authorize())
    clock.forward(1)

    assert is_asked(ada.authorize())


def test_who_has_allowed_less_elsewhere_is_asked_again_here(
    ada: Browser, runtime: Runtime, clock: Clock, questions: list[str]
) -> None:
    both = ("notes:write", "profile")
    ada.obtain_code(scope=both)
    ada.obtain_code(scope=both)
    assert not is_asked(ada.authorize(scope=" ".join(both)))
    less = Consent("ada", ada.client.client_id, "profile", clock(), clock(), None)
    runtime.store.write(Transaction(rows=(consents.remember(less),)))

    assert is_asked(ada.authorize(scope=" ".join(both)))
    assert not is_asked(ada.authorize())
    questions.clear()
    assert not is_asked(ada.authorize())
    assert questions == []  # what it knew before is forgotten


def test_a_visit_to_one_app_is_none_to_another(ada: Browser, runtime: Runtime) -> None:
    ada.obtain_code()
    ada.obtain_code()
    other = register_client(runtime, name="Other", policy="web", redirect_uris=[CALLBACK])

    assert is_asked(Browser(ada.http, other).authorize())


def test_an_app_that_must_ask_each_time_from_now_on_does(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.obtain_code()
    ada.obtain_code()
    monkeypatch.setattr(type(_policy(runtime, ada.client)), "always_prompt_for_consent", True)

    assert is_asked(ada.authorize())


def _policy(runtime: Runtime, client: CreatedClient) -> Any:
    found = runtime.clients.find(client.client_id, runtime.clock())
    assert found is not None
    return found.policy


def test_two_who_share_a_browser_are_told_apart(ada: Browser, app: Flask, runtime: Runtime) -> None:
    ada.obtain_code()
    ada.obtain_code()
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, f"eve-{EMAIL}", "Eve")

    assert is_asked(eve.authorize())
    assert redirect_parameters(ada.authorize())["code"]


def test_a_host_that_puts_people_out_without_a_word_is_asked_each_time(runtime: Runtime) -> None:
    there = {"ada": Owner("ada")}
    known = OwnerCache(there.get, runtime.feed, lambda: False)
    assert known.is_active("ada", 1.0)
    there.clear()

    assert not known.is_active("ada", 1.0)


def test_what_strangers_ask_for_is_not_kept() -> None:
    kept = scopes._parse_cached.cache_info().currsize
    for number in range(300):
        scopes.parse_scope(f"{number} {'x' * 1000}")

    assert scopes._parse_cached.cache_info().currsize == kept
