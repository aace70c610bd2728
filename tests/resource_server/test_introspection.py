"""Opaque tokens, and JWTs that are asked about (RFC 7662): what is asked, of whom, and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.resource_server.fake_issuer import INTROSPECTION_PATH, RESOURCE, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.browser_client import Clock
from valetkey import IntrospectionClient, TrustedIssuer

CLIENT = IntrospectionClient(client_id="notes api", client_secret="s3cret:%")


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        running.introspection_responses["opaque"] = {"active": True, "token_type": "Bearer", **running.claims()}
        yield running


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))


def test_an_opaque_token_is_asked_about_once_for_some_seconds(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    for _ in range(5):
        assert api.call("opaque").json == {"issuer": issuer.url, "user": "maya", "app": "shop"}
        clock.forward(0.9)
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1

    clock.forward(1)
    assert api.accepts("opaque")
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 2


def test_however_the_header_is_written_it_is_asked_about_once_and_not_kept_in_clear(
    clock: Clock, issuer: FakeIssuer
) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    for form in ("Bearer opaque", "bearer opaque", "BEARER  opaque", "Bearer opaque  "):
        assert api.app.test_client().get("/api/notes", headers={"Authorization": form}).status_code == 200

    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1
    kept = api.app.extensions["valetkey"].verifier._verified.recent
    assert len(kept) == 1 and all(isinstance(shown, bytes) for shown in kept)


def test_a_token_that_was_revoked_is_refused_within_seconds(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts("opaque")
    del issuer.introspection_responses["opaque"]
    clock.forward(5)

    assert api.call("opaque").status_code == 401


def test_no_memory_outlives_the_token(api: StandaloneApi, issuer: FakeIssuer, clock: Clock) -> None:
    issuer.introspection_responses["short"] = {"active": True, **issuer.claims(exp=int(clock()) + 1)}
    assert api.accepts("short")
    clock.forward(6)
    issuer.is_down = True

    assert api.call("short").status_code == 503  # its end has come: it is not taken from memory


def test_an_unknown_token_is_asked_about_once_for_some_seconds(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    for _ in range(5):
        assert api.call("guess").status_code == 401
        clock.forward(1)
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1

    clock.forward(5)
    issuer.introspection_responses["guess"] = issuer.introspection_responses["opaque"]
    assert api.accepts("guess")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_api_proves_itself(clock: Clock, issuer: FakeIssuer, method: Any) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret:%", method=method)
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=client))

    assert api.accepts("opaque")
    assert issuer.presented_credentials == [("notes api", "s3cret:%")]


BAD: dict[str, dict[str, Any]] = {
    "active as text": {"active": "true"},
    "active as a number": {"active": 1},
    "expired": {"exp": 1},
    "for another API": {"aud": "https://other.example.com"},
    "for nobody": {"aud": None},
    "another issuer's": {"iss": "https://other.example.com"},
    "bound to a key": {"cnf": {"jkt": "x"}},
    "of type DPoP": {"token_type": "DPoP"},
    "a refresh token": {"typ": "Refresh"},
    "of no app": {"client_id": None},
    "not good yet": {"nbf": 4_000_000_000},
}


@pytest.mark.parametrize("other", BAD.values(), ids=BAD)
def test_an_answer_that_does_not_fit_is_a_refusal(
    api: StandaloneApi, issuer: FakeIssuer, other: dict[str, Any]
) -> None:
    changed = {**issuer.introspection_responses["opaque"], **other}
    issuer.introspection_responses["opaque"] = {name: value for name, value in changed.items() if value is not None}

    assert api.call("opaque").status_code == 401


def test_what_need_not_be_there_need_not_be_there(clock: Clock, issuer: FakeIssuer) -> None:
    """RFC 7662 §2.2: only active is required; then the publisher must have named the apps."""
    issuer.introspection_responses["bare"] = {"active": True, "client_id": "shop", "scope": "notes:read"}

    assert not StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT)).accepts("bare")
    assert StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT, clients=["shop"])).accepts("bare")


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 302])
def test_no_answer_is_503_and_a_rest(api: StandaloneApi, issuer: FakeIssuer, clock: Clock, status: int) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (status, {"active": False}, {})
    for number in range(5):
        assert api.call(f"token {number}".replace(" ", "")).status_code == 503
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1

    del issuer.overridden_responses[INTROSPECTION_PATH]
    clock.forward(2)
    assert api.accepts("opaque")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"active": true, "active": false}'])
def test_an_answer_that_is_none_is_an_outage(api: StandaloneApi, issuer: FakeIssuer, body: bytes) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (200, body, {})

    assert api.call("opaque").status_code == 503


def test_a_known_token_passes_while_the_issuer_is_away_and_is_remembered(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts("opaque")
    issuer.is_down = True
    clock.forward(4)
    assert api.accepts("opaque")
    clock.forward(2)
    assert api.call("opaque").status_code == 503


def test_however_many_bring_a_token_it_is_asked_about_once(api: StandaloneApi, issuer: FakeIssuer) -> None:
    everybody = threading.Barrier(8, timeout=5)
    issuer.release_event = threading.Event()
    threading.Timer(0.3, issuer.release_event.set).start()

    def call(_: int) -> bool:
        everybody.wait()
        return api.accepts("opaque")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1


def test_a_jwt_is_asked_about_only_where_the_publisher_says_always(clock: Clock, issuer: FakeIssuer) -> None:
    once = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    always = IntrospectionClient(client_id="api", client_secret="s", always=True)
    each = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=always))
    token = issuer.token()

    assert once.accepts(token)
    assert not each.accepts(token)
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1
    clock.forward(10)
    issuer.introspection_responses[token] = issuer.introspection_responses["opaque"]
    assert each.accepts(token)
    assert not each.accepts(issuer.token(exp=1))  # what is bad by itself is not asked about
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 2


def test_no_issuer_is_shown_the_token_of_another(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        second.introspection_responses["b_1"] = {"active": True, **second.claims()}
        first, other = (
            IntrospectionClient(client_id="api", client_secret="s", prefix=prefix) for prefix in ("a_", "b_")
        )
        api = StandaloneApi(
            clock, TrustedIssuer(issuer.url, introspection=first), TrustedIssuer(second.url, introspection=other)
        )

        assert api.accepts("b_1")
        assert api.call("c_1").status_code == 401
        assert INTROSPECTION_PATH not in issuer.requested_paths


def test_without_introspection_an_opaque_token_is_refused(clock: Clock, issuer: FakeIssuer) -> None:
    assert StandaloneApi(clock, issuer.url).call("opaque").status_code == 401
    assert issuer.requested_paths == []


def test_the_audience_of_an_answer_may_be_a_list(api: StandaloneApi, issuer: FakeIssuer) -> None:
    issuer.introspection_responses["many"] = {**issuer.introspection_responses["opaque"], "aud": ["x", RESOURCE]}

    assert api.accepts("many")
