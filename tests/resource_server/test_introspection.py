"""Opaque tokens, and JWTs that are asked about (RFC 7662): what is asked, of whom, and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.resource_server.alone import Api
from tests.resource_server.issuer import INTROSPECT, RESOURCE, Issuer
from tests.support.vocabulary import Clock
from valetkey import IntrospectionClient, TrustedIssuer

CLIENT = IntrospectionClient(client_id="notes api", client_secret="s3cret:%")


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Issuer]:
    with Issuer(clock) as running:
        running.known["opaque"] = {"active": True, "token_type": "Bearer", **running.claims()}
        yield running


@pytest.fixture
def api(clock: Clock, issuer: Issuer) -> Api:
    return Api(clock, TrustedIssuer(issuer.url, introspection=CLIENT))


def test_an_opaque_token_is_asked_about_once_for_some_seconds(api: Api, issuer: Issuer, clock: Clock) -> None:
    for _ in range(5):
        assert api.call("opaque").json == {"issuer": issuer.url, "user": "maya", "app": "shop"}
        clock.forward(0.9)
    assert issuer.asked.count(INTROSPECT) == 1

    clock.forward(1)
    assert api.passes("opaque")
    assert issuer.asked.count(INTROSPECT) == 2


def test_however_the_header_is_written_it_is_asked_about_once_and_not_kept_in_clear(
    clock: Clock, issuer: Issuer
) -> None:
    api = Api(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    for form in ("Bearer opaque", "bearer opaque", "BEARER  opaque", "Bearer opaque  "):
        assert api.app.test_client().get("/api/notes", headers={"Authorization": form}).status_code == 200

    assert issuer.asked.count(INTROSPECT) == 1
    kept = api.app.extensions["valetkey"].judge._good.young
    assert len(kept) == 1 and all(isinstance(shown, bytes) for shown in kept)


def test_a_token_that_was_revoked_is_refused_within_seconds(api: Api, issuer: Issuer, clock: Clock) -> None:
    assert api.passes("opaque")
    del issuer.known["opaque"]
    clock.forward(5)

    assert api.call("opaque").status_code == 401


def test_no_memory_outlives_the_token(api: Api, issuer: Issuer, clock: Clock) -> None:
    issuer.known["short"] = {"active": True, **issuer.claims(exp=int(clock()) + 1)}
    assert api.passes("short")
    clock.forward(6)
    issuer.is_down = True

    assert api.call("short").status_code == 503  # its end has come: it is not taken from memory


def test_an_unknown_token_is_asked_about_once_for_some_seconds(api: Api, issuer: Issuer, clock: Clock) -> None:
    for _ in range(5):
        assert api.call("guess").status_code == 401
        clock.forward(1)
    assert issuer.asked.count(INTROSPECT) == 1

    clock.forward(5)
    issuer.known["guess"] = issuer.known["opaque"]
    assert api.passes("guess")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_api_proves_itself(clock: Clock, issuer: Issuer, method: Any) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret:%", method=method)
    api = Api(clock, TrustedIssuer(issuer.url, introspection=client))

    assert api.passes("opaque")
    assert issuer.clients == [("notes api", "s3cret:%")]


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
def test_an_answer_that_does_not_fit_is_a_refusal(api: Api, issuer: Issuer, other: dict[str, Any]) -> None:
    changed = {**issuer.known["opaque"], **other}
    issuer.known["opaque"] = {name: value for name, value in changed.items() if value is not None}

    assert api.call("opaque").status_code == 401


def test_what_need_not_be_there_need_not_be_there(clock: Clock, issuer: Issuer) -> None:
    """RFC 7662 §2.2: only active is required; then the publisher must have named the apps."""
    issuer.known["bare"] = {"active": True, "client_id": "shop", "scope": "notes:read"}

    assert not Api(clock, TrustedIssuer(issuer.url, introspection=CLIENT)).passes("bare")
    assert Api(clock, TrustedIssuer(issuer.url, introspection=CLIENT, clients=["shop"])).passes("bare")


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 302])
def test_no_answer_is_503_and_a_rest(api: Api, issuer: Issuer, clock: Clock, status: int) -> None:
    issuer.answers[INTROSPECT] = (status, {"active": False}, {})
    for number in range(5):
        assert api.call(f"token {number}".replace(" ", "")).status_code == 503
    assert issuer.asked.count(INTROSPECT) == 1

    del issuer.answers[INTROSPECT]
    clock.forward(2)
    assert api.passes("opaque")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"active": true, "active": false}'])
def test_an_answer_that_is_none_is_an_outage(api: Api, issuer: Issuer, body: bytes) -> None:
    issuer.answers[INTROSPECT] = (200, body, {})

    assert api.call("opaque").status_code == 503


def test_a_known_token_passes_while_the_issuer_is_away_and_is_remembered(
    api: Api, issuer: Issuer, clock: Clock
) -> None:
    assert api.passes("opaque")
    issuer.is_down = True
    clock.forward(4)
    assert api.passes("opaque")
    clock.forward(2)
    assert api.call("opaque").status_code == 503


def test_however_many_bring_a_token_it_is_asked_about_once(api: Api, issuer: Issuer) -> None:
    everybody = threading.Barrier(8, timeout=5)
    issuer.hold = threading.Event()
    threading.Timer(0.3, issuer.hold.set).start()

    def call(_: int) -> bool:
        everybody.wait()
        return api.passes("opaque")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
    assert issuer.asked.count(INTROSPECT) == 1


def test_a_jwt_is_asked_about_only_where_the_publisher_says_always(clock: Clock, issuer: Issuer) -> None:
    once = Api(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    always = IntrospectionClient(client_id="api", client_secret="s", always=True)
    each = Api(clock, TrustedIssuer(issuer.url, introspection=always))
    token = issuer.token()

    assert once.passes(token)
    assert not each.passes(token)
    assert issuer.asked.count(INTROSPECT) == 1
    clock.forward(10)
    issuer.known[token] = issuer.known["opaque"]
    assert each.passes(token)
    assert not each.passes(issuer.token(exp=1))  # what is bad by itself is not asked about
    assert issuer.asked.count(INTROSPECT) == 2


def test_no_issuer_is_shown_the_token_of_another(clock: Clock, issuer: Issuer) -> None:
    with Issuer(clock) as second:
        second.known["b_1"] = {"active": True, **second.claims()}
        first, other = (
            IntrospectionClient(client_id="api", client_secret="s", prefix=prefix) for prefix in ("a_", "b_")
        )
        api = Api(clock, TrustedIssuer(issuer.url, introspection=first), TrustedIssuer(second.url, introspection=other))

        assert api.passes("b_1")
        assert api.call("c_1").status_code == 401
        assert INTROSPECT not in issuer.asked


def test_without_introspection_an_opaque_token_is_refused(clock: Clock, issuer: Issuer) -> None:
    assert Api(clock, issuer.url).call("opaque").status_code == 401
    assert issuer.asked == []


def test_the_audience_of_an_answer_may_be_a_list(api: Api, issuer: Issuer) -> None:
    issuer.known["many"] = {**issuer.known["opaque"], "aud": ["x", RESOURCE]}

    assert api.passes("many")
