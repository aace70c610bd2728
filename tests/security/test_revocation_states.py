"""Revocation as a state machine: no order of events makes a revoked token good, or a good token refused.

Two processes share a database, one of them in a child process. They issue, revoke, disable and enable, change consents
and settings, stop between two steps of a request, hold a write before its commit, and start again. Their clocks differ
and are set. Time is simulated: the processes read the change feed by it. ``make soak`` runs this for as long as wanted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.clock import NOW
from tests.support.revocation_process import ChildProcess, RevocationProcess
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.secret import random_id
from valetkey.storage import accounts
from valetkey.storage.change_feed import RETENTION_S
from valetkey.storage.engine.transaction import Transaction

RUN_S = float(os.environ.get("SOAK_SECONDS", "50")) / 2  # for each kind of database
WITHIN_S = 1.0  # a revocation is in force everywhere
LIFETIMES_S = (120, 900, 24 * 3600)
SCOPE = "notes:read profile"
PERSONAL_LIFETIME_S = 30 * 86400.0

process = st.sampled_from((0, 1))
number = st.integers(0, 50)


@dataclass
class Subject:
    """A client or resource owner, as the model knows it.

    :param revoked_step: step of the last revocation that was answered; 0 if there was none.
    :param changed_at: time of the last answer to any change.
    """

    id: str
    auth: list[str] = field(default_factory=list)
    is_enabled: bool = True
    revoked_step: int = 0
    enabled_step: int = 0
    changed_at: float = float("-inf")


@dataclass
class Token:
    """An access token or personal access token, as the model knows it.

    :param begun_step: step in which its request began, before all checks.
    :param is_stable: whether its client and owner had not changed for a second then: it is good until it is revoked.
    :param refused_from: when every process must refuse it; ``None`` if it was not revoked.
    """

    value: str
    client: Subject | None
    owner: Subject | None
    grant: Grant | None
    begun_step: int
    expires_at: float
    is_stable: bool
    refused_from: float | None = None


@dataclass
class Grant:
    """A grant of an owner to a client, as the model knows it."""

    id: str
    refresh_token: str
    client: Subject
    owner: Subject
    created_step: int
    has_notes: bool = True
    is_revoked: bool = False


@dataclass
class Deployment:
    """The two processes, by the name of their methods."""

    here: RevocationProcess
    there: ChildProcess
    lifetimes: list[int] = field(default_factory=lambda: [900, 900])  # the setting of each process

    def call(self, number: int, method: str, *arguments: Any) -> Any:
        return getattr(self.here, method)(*arguments) if number == 0 else self.there.call(method, *arguments)


class Revocation(RuleBasedStateMachine):
    """The rules are events in one of the processes; the invariant compares what the processes accept with the model."""

    deployment: Deployment  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.step = 1
        self.now = self.deployment.here.time + 86400 * 40
        self.skews = [0.0, 0.0]
        self.tokens: list[Token] = []
        self.grants: list[Grant] = []
        self.held: tuple[int, list[Subject], list[Grant]] | None = None
        self.request: tuple[int, Subject, int, float, bool] | None = None  # with the time of the process

    @initialize()
    def begin(self) -> None:
        self.set_clocks()
        runtime = self.deployment.here.runtime
        self.clients = []
        for _ in range(2):
            created = register_client(
                runtime,
                runtime.clock(),
                name="Shop",
                policy="web",
                redirect_uris=["https://shop.example/back"],
                grant_types=["authorization_code", "refresh_token", "client_credentials"],
            )
            assert created.secret
            self.clients.append(Subject(created.client_id, [created.client_id, created.secret.reveal()]))
        self.owners = [Subject(random_id()) for _ in range(2)]
        rows = tuple(accounts.add(each.id, f"{each.id}@example.org", "Ada", None, self.now) for each in self.owners)
        runtime.store.write(Transaction(rows=rows))

    def call(self, number: int, method: str, *arguments: Any) -> Any:
        return self.deployment.call(number, method, *arguments)

    def set_clocks(self) -> None:
        for number in (0, 1):
            self.call(number, "set_clock", self.now, self.skews[number])

    def is_stable(self, *subjects: Subject) -> bool:
        """Return whether each of them is enabled and every process knows that."""
        unchanged = all(each.is_enabled and self.now - each.changed_at > WITHIN_S for each in subjects)
        return unchanged and not (self.held and any(each in self.held[1] for each in subjects))

    def is_refused(self, *subjects: Subject) -> bool:
        """Return whether one of them is disabled and every process knows that."""
        return any(not each.is_enabled and self.now - each.changed_at > WITHIN_S for each in subjects)

    def is_held(self, *subjects: Subject) -> bool:
        return self.held is not None and any(each in self.held[1] for each in subjects)

    # Events

    @rule(by=process, client=number)
    def issue(self, by: int, client: int) -> None:
        subject = self.clients[client % 2]
        begun, is_stable = self.step, self.is_stable(subject)
        answer = self.call(by, "request_token", {"grant_type": "client_credentials", "scope": "profile"}, subject.auth)
        self.add_answer(answer, subject, None, None, begun, self.now + self.skews[by], is_stable, by)

    @precondition(lambda self: self.request is None)
    @rule(by=process, client=number)
    def begin_request(self, by: int, client: int) -> None:
        subject = self.clients[client % 2]
        self.request = (by, subject, self.step, self.now + self.skews[by], self.is_stable(subject))
        self.call(by, "begin_request", {"grant_type": "client_credentials", "scope": "profile"}, subject.auth)

    @precondition(lambda self: self.request is not None)
    @rule()
    def finish_request(self) -> None:
        assert self.request
        (by, subject, begun, begun_at, is_stable), self.request = self.request, None
        answer = self.call(by, "finish_request")
        self.add_answer(answer, subject, None, None, begun, begun_at, is_stable, by)

    @rule(by=process, client=number, owner=number)
    def create_grant(self, by: int, client: int, owner: int) -> None:
        app, person = self.clients[client % 2], self.owners[owner % 2]
        if self.is_held(app, person):
            return  # it would wait
        begun = self.step
        is_stable = self.is_stable(app, person)
        created = self.call(by, "create_grant", person.id, app.id, SCOPE)
        assert not (created and self.is_refused(app, person)), "a grant of a disabled owner or client"
        if created is not None and is_stable:
            self.grants.append(Grant(created[0], created[1], app, person, begun))
            self.refresh_grant(by, self.grants[-1])
        else:
            assert not is_stable, "no grant, although owner and client are enabled"

    @precondition(lambda self: self.grants)
    @rule(by=process, grant=number)
    def refresh(self, by: int, grant: int) -> None:
        self.refresh_grant(by, self.grants[grant % len(self.grants)])

    def refresh_grant(self, by: int, used: Grant) -> None:
        if self.held and used in self.held[2]:
            return  # it may wait for the write, or not
        begun, is_stable = self.step, self.is_stable(used.client, used.owner) and not used.is_revoked
        parameters = {"grant_type": "refresh_token", "refresh_token": used.refresh_token}
        answer = self.call(by, "request_token", parameters, used.client.auth)
        if used.is_revoked:
            assert answer["status"] != 200, "a refresh token of a revoked grant was redeemed"
        elif answer["status"] == 200:
            assert ("notes:read" in answer["scope"]) is used.has_notes, answer["scope"]
            used.refresh_token = answer["refresh_token"]
        self.add_answer(answer, used.client, used.owner, used, begun, self.now + self.skews[by], is_stable, by)

    @rule(by=process, owner=number)
    def create_personal_token(self, by: int, owner: int) -> None:
        person = self.owners[owner % 2]
        if self.is_held(person):
            return
        begun, is_stable = self.step, self.is_stable(person)
        value = self.call(by, "create_personal_token", person.id)
        assert not (value and self.is_refused(person)), "a personal token of a disabled owner"
        if value is not None:
            expires_at = self.now + PERSONAL_LIFETIME_S
            self.tokens.append(Token(value, None, person, None, begun, expires_at, is_stable))

    @precondition(lambda self: self.tokens)
    @rule(by=process, token=number)
    def revoke_token(self, by: int, token: int) -> None:
        revoked = self.tokens[token % len(self.tokens)]
        auth = revoked.client.auth if revoked.client else ["", ""]
        if self.held or not revoked.client or not self.is_stable(revoked.client) or revoked.expires_at < self.now + 60:
            return
        if revoked.refused_from is not None and self.now < revoked.refused_from:
            return  # some processes refuse it already: whether its grant is revoked depends on the process
        assert self.call(by, "revoke_token", revoked.value, auth) == 200
        if revoked.grant and revoked.refused_from is None and revoked.is_stable:
            self.end_grants([revoked.grant])
        revoked.refused_from = revoked.refused_from or self.now + WITHIN_S

    @rule(by=process, client=number, is_held=st.booleans())
    def disable_client(self, by: int, client: int, is_held: bool) -> None:
        subject = self.clients[client % 2]
        if subject.is_enabled and not self.is_held(subject):
            self.change(by, is_held, subject, "set_client_enabled", subject.id, False)

    @rule(by=process, client=number)
    def enable_client(self, by: int, client: int) -> None:
        subject = self.clients[client % 2]
        if not subject.is_enabled and not self.is_held(subject):
            self.call(by, "set_client_enabled", subject.id, True)
            self.enabled(subject)

    @rule(by=process, owner=number, is_held=st.booleans(), disables=st.booleans())
    def end_owner(self, by: int, owner: int, is_held: bool, disables: bool) -> None:
        subject = self.owners[owner % 2]
        if not subject.is_enabled or self.is_held(subject):
            return
        if disables:
            self.change(by, is_held, subject, "set_owner_enabled", subject.id, False)
        else:
            self.change(by, is_held, subject, "revoke_owner", subject.id)

    @rule(by=process, owner=number)
    def enable_owner(self, by: int, owner: int) -> None:
        subject = self.owners[owner % 2]
        if not subject.is_enabled and not self.is_held(subject):
            self.call(by, "set_owner_enabled", subject.id, True)
            self.enabled(subject)

    @precondition(lambda self: self.grants and not self.held)
    @rule(by=process, grant=number, whole=st.booleans())
    def withdraw_consent(self, by: int, grant: int, whole: bool) -> None:
        chosen = self.grants[grant % len(self.grants)]
        same = [each for each in self.grants if each.client is chosen.client and each.owner is chosen.owner]
        if whole:
            self.call(by, "withdraw_consent", chosen.owner.id, chosen.client.id)
            self.end_grants(same)
            return
        self.call(by, "withdraw_scope", chosen.owner.id, chosen.client.id, "notes:read")
        for token in self.tokens:
            if token.grant in same and token.grant and token.grant.has_notes and not token.grant.is_revoked:
                token.refused_from = token.refused_from or self.now + WITHIN_S
        for each in same:
            each.has_notes = each.has_notes and each.is_revoked

    @precondition(lambda self: self.held is not None)
    @rule()
    def commit_held_write(self) -> None:
        assert self.held
        by, subjects, _ = self.held
        self.call(by, "commit_held_write")
        self.held = None
        for subject in subjects:
            self.revoked(subject)

    @rule(seconds=st.sampled_from((0.2, 0.6, *[1.1] * 8, 30.0, 120.0, 120.0, 600.0, RETENTION_S + 3600.0)))
    def wait(self, seconds: float) -> None:
        # The database ends a transaction that is open for seconds: none is committed after its entry could be pruned.
        self.now += min(seconds, 600.0) if self.held else seconds
        self.set_clocks()

    @rule(of=process, seconds=st.sampled_from((-20.0, -1.0, 0.0, 20.0)))
    def set_one_clock(self, of: int, seconds: float) -> None:
        self.skews[of] = seconds
        self.set_clocks()

    @precondition(lambda self: self.request is None and self.held is None)
    @rule(of=process, lifetime=st.sampled_from(LIFETIMES_S))
    def start_again(self, of: int, lifetime: int) -> None:
        self.deployment.lifetimes[of] = lifetime
        self.call(of, "start", lifetime)

    @rule(by=process)
    def prune(self, by: int) -> None:
        if not self.held:
            self.call(by, "prune")

    # The model

    def change(self, by: int, is_held: bool, subject: Subject, method: str, *arguments: Any) -> None:
        """Disable or revoke a client or owner in a process, which may hold the write before its commit."""
        is_held = is_held and self.held is None
        if is_held:
            self.call(by, "hold_next_write")
        elif self.held and self.held[0] == by:
            return
        if self.held:
            return  # the two might wait for each other
        if method == "set_client_enabled" or method == "set_owner_enabled":
            subject.is_enabled = False
        self.call(by, method, *arguments)
        if is_held:
            affected = [each for each in self.grants if subject in (each.client, each.owner)]
            self.held = (by, [subject], affected)
        else:
            self.revoked(subject)

    def revoked(self, subject: Subject) -> None:
        """Record the answer to a revocation of all tokens of a client or owner."""
        subject.revoked_step, subject.changed_at = self.step, self.now
        self.end_grants([each for each in self.grants if subject in (each.client, each.owner)])
        for token in self.tokens:
            if subject in (token.client, token.owner):
                token.refused_from = token.refused_from or self.now + WITHIN_S

    def enabled(self, subject: Subject) -> None:
        subject.is_enabled, subject.changed_at, subject.enabled_step = True, self.now, self.step

    def end_grants(self, ended: list[Grant]) -> None:
        for grant in ended:
            grant.is_revoked = True
        for token in self.tokens:
            if token.grant in ended:
                token.refused_from = token.refused_from or self.now + WITHIN_S

    def add_answer(
        self, answer: dict[str, Any], client: Subject, owner: Subject | None, grant: Grant | None,
        begun: int, begun_at: float, is_stable: bool, by: int,
    ) -> None:  # fmt: skip
        subjects = [client, owner] if owner else [client]
        if answer["status"] != 200:
            assert not is_stable, f"a token request was refused: {answer}"
            return
        is_late = any(each.revoked_step >= begun for each in subjects) or (grant is not None and grant.is_revoked)
        is_disabled = any(
            not each.is_enabled and each.revoked_step > each.enabled_step and begun > each.revoked_step
            for each in subjects
        )
        token = Token(
            answer["access_token"], client, owner, grant, begun,
            begun_at + self.deployment.lifetimes[by], is_stable,
        )  # fmt: skip
        if is_late or is_disabled:
            token.refused_from = self.now + WITHIN_S
        self.tokens.append(token)

    @invariant()
    def processes_accept_what_the_model_accepts(self) -> None:
        self.step += 1
        self.tokens = [each for each in self.tokens if self.now < each.expires_at + 60]
        values = [each.value for each in self.tokens]
        for number in (0, 1):
            for token, refusal in zip(self.tokens, self.call(number, "find_refusals", values), strict=True):
                if token.refused_from is not None:
                    assert refusal or self.now < token.refused_from, f"{number} accepts a revoked token: {token}"
                elif token.is_stable and self.now < token.expires_at - 60:
                    assert not refusal or self.is_held(*filter(None, (token.client, token.owner))), (
                        f"{number} refuses a good token: {refusal}: {token}; {self.now=} {self.skews=}"
                    )

    def teardown(self) -> None:
        if self.request:
            self.call(self.request[0], "finish_request")
        if self.held:
            self.call(self.held[0], "commit_held_write")
        self.deployment.here.time = self.now


@pytest.fixture
def deployment(store_url: str) -> Iterator[Deployment]:
    deployment = Deployment(RevocationProcess(store_url), ChildProcess(store_url))
    for number in (0, 1):
        deployment.call(number, "set_clock", NOW, 0.0)
        deployment.call(number, "start", 900)
    yield deployment
    deployment.there.close()
    deployment.here.runtime.close()


def test_no_order_of_events_makes_a_revoked_token_good_or_a_good_token_refused(deployment: Deployment) -> None:
    """Each token that was revoked is refused by both processes from a second after the answer, until it expires."""
    machine = type("RevocationOfDeployment", (Revocation,), {"deployment": deployment})
    ends_at, run = time.monotonic() + RUN_S, 0
    while time.monotonic() < ends_at:
        run += 1
        run_state_machine_as_test(
            seed(time.time_ns() if "SOAK_SECONDS" in os.environ else run)(machine),  # `make soak` explores new orders
            settings=settings(
                max_examples=5,
                stateful_step_count=60,
                deadline=None,
                database=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
