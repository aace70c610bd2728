"""What was revoked is never good again; every process refuses it within a second, whatever clocks and settings say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser, sign_in_new_account
from tests.support.clock import Clock
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import disable_client, enable_client, register_client
from valetkey.outbound.pruning import prune
from valetkey.protocol.access_token import SEEN_REVOCATIONS_CLAIM
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients
from valetkey.storage.engine.statement import sql_and_values
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.tokens.access import Access
from valetkey.tokens.generator import TokenGenerator

POLL_S = 0.6  # a process reads the change feed when its copy is over half a second old
HOUR = 3600.0


class Process:
    """A process of a deployment: an app with its own caches and its own clock, and one client that uses it."""

    def __init__(self, app: Flask, clock: Clock, robot: Browser | None = None) -> None:
        self.app, self.clock = app, clock
        self.runtime: Runtime = app.extensions["valetkey"]
        registered = (
            robot.client
            if robot
            else register_client(self.runtime, self.runtime.clock(), name="Robot", policy="machine")
        )
        self.robot = Browser(app.test_client(), registered)

    def shift_clock(self, seconds: float) -> None:
        """Let this process's clock differ by some seconds from then on; time goes on as before."""
        self.runtime.clock = lambda: self.clock() + seconds

    def new_token(self) -> str:
        response = self.robot.request_token("client_credentials", scope="profile")
        assert response.status_code == 200, response.text
        return str(response.json["access_token"])

    def status(self, token: str) -> int:
        return self.robot.call(token).status_code

    def set_enabled(self, is_enabled: bool) -> None:
        client = clients.find(self.runtime.store, self.robot.client.client_id, self.runtime.clock())
        assert client
        (enable_client if is_enabled else disable_client)(self.runtime.store, client, self.runtime.clock())


@pytest.fixture
def start(make_app: MakeApp, store_url: str, clock: Clock) -> Callable[..., Process]:
    """Return a function that starts a process, with other settings if needed, for the client of another process."""

    def start_process(other: Process | None = None, **settings: Any) -> Process:
        return Process(make_app(store_url, **settings), clock, other.robot if other else None)

    return start_process


@pytest.fixture
def here(start: Callable[..., Process]) -> Process:
    return start()


@pytest.fixture
def there(start: Callable[..., Process], here: Process) -> Process:
    """Another process with the same store."""
    return start(here)


def before_generating(process: Process, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an action once, between the checks of the process's next token request and its token."""
    generate = TokenGenerator.generate_access_token
    actions = [action]

    def act_and_generate(self: TokenGenerator, access: Access, **arguments: Any) -> Any:
        while actions and self is process.runtime.token_generator:
            actions.pop()()
        return generate(self, access, **arguments)

    monkeypatch.setattr(TokenGenerator, "generate_access_token", act_and_generate)


def test_a_revoked_token_stays_revoked_after_the_lifetime_setting_was_lowered(
    start: Callable[..., Process], clock: Clock
) -> None:
    before = start(access_token_lifetime=24 * 3600)
    token = before.new_token()
    after = start(before, access_token_lifetime=60)
    before.robot.revoke(token)

    for hours in (1, 10, 23.9):
        clock.time += hours * HOUR - (clock.time - before.runtime.verifier._verify_uncached(token, 0).issued_at)
        prune(after.runtime.store, clock())
        assert after.status(token) == before.status(token) == 401
        assert start(before).status(token) == 401, "a process that was started later"


@pytest.mark.parametrize("seconds", [-20, 0, 20], ids=["clock behind", "same clock", "clock ahead"])
def test_a_token_of_a_request_that_was_checked_before_its_client_was_disabled_is_refused(
    here: Process, there: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    here.shift_clock(seconds)
    here.new_token()
    before_generating(here, lambda: there.set_enabled(is_enabled=False), monkeypatch)
    token = here.new_token()

    clock.forward(POLL_S)
    assert here.status(token) == there.status(token) == 401
    there.set_enabled(is_enabled=True)
    clock.forward(POLL_S)
    assert here.status(token) == there.status(token) == 401, "enabling a client revives no token"
    new = here.new_token()
    assert here.status(new) == there.status(new) == 200


def test_a_token_is_accepted_by_a_process_that_has_read_only_an_earlier_revocation_of_its_client(
    here: Process, there: Process, clock: Clock
) -> None:
    old_token = here.new_token()
    here.set_enabled(is_enabled=False)
    clock.forward(POLL_S)
    assert there.status(old_token) == 401
    here.set_enabled(is_enabled=True)
    here.set_enabled(is_enabled=False)
    here.set_enabled(is_enabled=True)

    assert there.status(here.new_token()) == 200


def test_a_revoked_token_does_not_make_each_call_read_the_change_feed(
    here: Process, there: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.set_enabled(is_enabled=False)
    here.set_enabled(is_enabled=True)
    token = here.new_token()
    here.set_enabled(is_enabled=False)
    clock.forward(POLL_S)
    assert there.status(token) == 401
    reads: list[object] = []
    monkeypatch.setattr(change_feed, "read", lambda *arguments: reads.append(arguments))

    assert [there.status(token) for _ in range(3)] == [401, 401, 401]
    assert reads == []


@pytest.mark.parametrize("seconds", [-20, 20], ids=["clock behind", "clock ahead"])
def test_a_revocation_of_a_process_with_another_clock_is_noticed(
    here: Process, there: Process, clock: Clock, seconds: float
) -> None:
    here.shift_clock(seconds)
    token, of_client = there.new_token(), there.new_token()
    assert there.status(token) == there.status(of_client) == 200
    here.robot.revoke(token)
    clock.forward(POLL_S)
    assert (there.status(token), there.status(of_client)) == (401, 200)

    here.set_enabled(is_enabled=False)

    clock.forward(POLL_S)
    assert there.status(of_client) == 401


def test_a_revocation_is_noticed_although_the_clock_was_set_back(here: Process, there: Process, clock: Clock) -> None:
    token = there.new_token()
    assert there.status(token) == 200
    here.robot.revoke(token)
    there.shift_clock(-10)

    clock.forward(POLL_S)

    assert there.status(token) == 401


def test_a_revocation_is_not_forgotten_if_rows_are_pruned_while_the_clock_is_half_a_day_fast(
    here: Process, there: Process, clock: Clock
) -> None:
    """As after a start with the local time taken for UTC, until the time is synchronized."""
    token = here.new_token()
    assert here.robot.revoke(token).status_code == 200

    clock.forward(14 * HOUR)
    prune(there.runtime.store, clock())
    clock.forward(-14 * HOUR + 1)

    for process in (here, there):
        process.runtime.feed.invalidate()
        assert process.status(token) == 401


def test_a_revocation_that_is_committed_after_half_a_minute_is_noticed_within_a_second(
    make_app: MakeApp, postgresql_store_url: str, clock: Clock
) -> None:
    here = Process(make_app(postgresql_store_url), clock)
    there = Process(make_app(postgresql_store_url), clock, here.robot)
    token, others = there.new_token(), [there.new_token() for _ in range(3)]
    jti = there.runtime.verifier.verify(token, clock()).jti
    with psycopg.connect(postgresql_store_url) as held:
        held.execute(*sql_and_values(change_feed.add_token(jti, clock() + HOUR), "postgresql", clock))
        for other in others:
            here.robot.revoke(other)
            clock.forward(10)
            assert (there.status(token), there.status(other)) == (200, 401)

    clock.forward(POLL_S)
    assert here.status(token) == there.status(token) == 401


def test_a_client_that_is_enabled_again_gets_good_tokens_during_a_long_transaction(
    make_app: MakeApp, postgresql_store_url: str, clock: Clock
) -> None:
    """The transaction of another program must not make revocations look newer than tokens."""
    here = Process(make_app(postgresql_store_url), clock)
    with psycopg.connect(postgresql_store_url) as other_program:
        other_program.execute("SELECT pg_current_xact_id()")
        here.set_enabled(is_enabled=False)
        here.set_enabled(is_enabled=True)

        assert here.status(here.new_token()) == 200


def test_a_process_that_starts_later_refuses_what_was_revoked(
    start: Callable[..., Process], here: Process, clock: Clock
) -> None:
    single, of_client = here.new_token(), here.new_token()
    here.robot.revoke(single)
    here.set_enabled(is_enabled=False)
    here.set_enabled(is_enabled=True)

    later = start(here)

    assert later.status(single) == later.status(of_client) == 401
    assert later.status(later.new_token()) == 200


def test_the_process_that_revoked_refuses_at_once_also_if_the_store_fails_and_outages_are_accepted(
    start: Callable[..., Process], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(revocation_outage="accept")
    token, other = process.new_token(), process.new_token()
    assert process.status(token) == process.status(other) == 200
    process.robot.revoke(token)

    def fail(*_: object) -> Any:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(process.runtime.store, "fetch_all", fail)
    for _ in range(3):
        assert (process.status(token), process.status(other)) == (401, 200)
        clock.forward(20)


def test_a_process_that_cannot_read_what_it_has_revoked_accepts_no_token(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(revocation_outage="accept")
    token = process.new_token()
    assert process.status(token) == 200

    def fail(*_: object) -> Any:
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as outage:
        row = change_feed.add_token(process.runtime.verifier.verify(token, process.clock()).jti, process.clock() + HOUR)
        outage.setattr(process.runtime.store, "fetch_all", fail)
        process.runtime.store.write_all(row)
        assert process.status(token) == 503

    assert process.status(token) == 401


@pytest.mark.parametrize(("seconds", "status"), [(-300, 401), (50, 401), (300, 200)], ids=["older", "margin", "newer"])
def test_a_token_of_an_earlier_version_is_compared_by_its_time_of_issue(
    here: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, status: int
) -> None:
    """Such a token does not contain which revocations its issuer had read."""
    sign = TokenGenerator.sign_jwt

    def sign_without_claim(self: TokenGenerator, claims: Any, *arguments: Any) -> str:
        return sign(self, {name: claims[name] for name in claims if name != SEEN_REVOCATIONS_CLAIM}, *arguments)

    here.set_enabled(is_enabled=False)
    here.set_enabled(is_enabled=True)
    clock.forward(seconds)
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr(TokenGenerator, "sign_jwt", sign_without_claim)
        token = here.new_token()

    assert here.status(token) == status


def test_a_claim_with_ids_that_do_not_exist_hides_no_revocation(here: Process, clock: Clock) -> None:
    """A token that names entries of another time of the database is revoked by the first entry it does not name."""
    token = here.runtime.verifier.verify(here.new_token(), clock())
    here.set_enabled(is_enabled=False)

    assert here.runtime.feed.is_revoked(replace(token, seen_revocations=(999_999,)))


def test_a_grant_and_a_personal_token_end_when_the_host_revokes_the_owner_in_another_process(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    here, there = make_app(store_url), make_app(store_url)
    runtime: Runtime = here.extensions["valetkey"]
    client = register_client(
        runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=["https://shop.example/back"]
    )
    ada = sign_in_new_account(Browser(here.test_client(), client), runtime, EMAIL, "Ada")
    tokens = ada.obtain_tokens()
    elsewhere = Browser(there.test_client(), client)
    assert elsewhere.call(tokens["access_token"]).status_code == 200

    Valetkey.revoke_owner(there, "ada")

    clock.forward(POLL_S)
    assert ada.call(tokens["access_token"]).status_code == 401
    assert elsewhere.call(tokens["access_token"]).status_code == 401
    assert ada.refresh(tokens["refresh_token"]).status_code == 400
    assert ada.call(ada.obtain_tokens()["access_token"]).status_code == 200
