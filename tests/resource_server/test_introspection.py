"""Introspection of opaque tokens and JWTs (RFC 7662): what is sent to which issuer, and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.resource_server.fake_issuer import INTROSPECTION_PATH, OPENID_CONFIGURATION_PATH, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import IntrospectionClient, TrustedIssuer
from valetkey.resource_server.issuers import introspection

CLIENT = IntrospectionClient(client_id="notes api", client_secret="s3cret:%")


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        running.introspection_responses["opaque"] = {"active": True, "token_type": "Bearer", **running.claims()}
        yield running


@pytest.fixture
def elapsed(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands in for ``time.monotonic``."""
    stopped = Clock(0)
    monkeypatch.setattr(introspection, "monotonic", stopped)
    return stopped


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))


def test_an_opaque_token_is_introspected_once_in_some_seconds(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    for _ in range(5):
        assert api.call("opaque").json == {"issuer": issuer.url, "user": "maya", "app": "shop"}
        clock.forward(0.9)
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1

    clock.forward(1)
    assert api.accepts("opaque")
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 2


def test_all_spellings_of_the_header_share_one_cache_entry_with_only_the_digest(
    clock: Clock, issuer: FakeIssuer
) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    for form in ("Bearer opaque", "bearer opaque", "BEARER  opaque", "Bearer opaque  "):
        assert api.app.test_client().get("/api/notes", headers={"Authorization": form}).status_code == 200

    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1
    cache = api.app.extensions["valetkey"].verifier._verified._recent
    assert len(cache) == 1 and all(isinstance(key, bytes) for key in cache)


def test_a_revoked_token_is_refused_within_seconds(api: StandaloneApi, issuer: FakeIssuer, clock: Clock) -> None:
    assert api.accepts("opaque")
    del issuer.introspection_responses["opaque"]
    clock.forward(5)

    assert api.call("opaque").status_code == 401


def test_a_revoked_token_is_refused_although_the_clock_is_set_back(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts("opaque")
    del issuer.introspection_responses["opaque"]

    clock.forward(-3600)

    assert api.call("opaque").status_code == 401


def test_an_inactive_token_is_introspected_again_if_the_clock_is_set_back(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.call("guess").status_code == 401
    issuer.introspection_responses["guess"] = issuer.introspection_responses["opaque"]

    clock.forward(-3)

    assert api.accepts("guess")


def test_a_cached_response_is_not_used_after_the_token_has_expired(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    issuer.introspection_responses["short"] = {"active": True, **issuer.claims(exp=int(clock()) + 1)}
    assert api.accepts("short")
    clock.forward(6)
    issuer.is_down = True

    assert api.call("short").status_code == 503  # the token has expired, so the cached response is not used


def test_an_inactive_token_is_introspected_once_in_some_seconds(
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
def test_the_api_authenticates_at_the_introspection_endpoint(clock: Clock, issuer: FakeIssuer, method: Any) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret:%", method=method)
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=client))

    assert api.accepts("opaque")
    assert issuer.presented_credentials == [("notes api", "s3cret:%")]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_failed_introspection_gets_503_and_is_not_repeated_at_once(
    api: StandaloneApi, issuer: FakeIssuer, elapsed: Clock, status: int
) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (status, {"active": False}, {})
    for number in range(5):
        assert api.call(f"token {number}".replace(" ", "")).status_code == 503
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1

    del issuer.overridden_responses[INTROSPECTION_PATH]
    elapsed.forward(2)
    assert api.accepts("opaque")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {}),
        (404, {}),
        (413, {}),
        (422, {}),
        (302, {}),
        (200, b"<html>"),
        (200, {"active": True, "x": "x" * 70_000}),
    ],
    ids=["400", "404", "413", "422", "302", "not JSON", "too large"],
)
def test_a_token_that_the_issuer_cannot_introspect_does_not_stop_the_introspection_of_others(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock, status: int, body: Any
) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (status, body, {})
    assert api.call("strange").status_code == 503

    del issuer.overridden_responses[INTROSPECTION_PATH]

    assert api.accepts("opaque")


def test_calls_that_fail_at_once_after_a_failure_are_not_logged_as_timeouts(
    api: StandaloneApi, issuer: FakeIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (500, {}, {})

    for token in ("first", "second"):
        assert api.call(token).status_code == 503

    assert "failed within the last 2 s" in caplog.text
    assert "timed out" not in caplog.text


def test_a_new_introspection_endpoint_is_found_although_the_metadata_is_cached(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts("opaque")
    with FakeIssuer(clock) as moved:
        moved.introspection_responses["second"] = issuer.introspection_responses["opaque"]
        metadata = {**issuer.metadata, "introspection_endpoint": moved.metadata["introspection_endpoint"]}
        issuer.overridden_responses[OPENID_CONFIGURATION_PATH] = (200, metadata, {})
        issuer.overridden_responses[INTROSPECTION_PATH] = (404, {}, {})
        clock.forward(31)

        assert api.accepts("second")
    assert issuer.requested_paths.count(OPENID_CONFIGURATION_PATH) == 2


def test_after_a_failure_one_call_in_two_seconds_tries_the_issuer_again(
    api: StandaloneApi, issuer: FakeIssuer, elapsed: Clock
) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (503, {}, {})
    api.call("first")

    for seconds, requests in ((1.9, 1), (0.2, 2), (1.9, 2), (0.2, 3)):
        elapsed.forward(seconds)
        for number in range(3):
            assert api.call(f"token-{requests}-{number}").status_code == 503
        assert issuer.requested_paths.count(INTROSPECTION_PATH) == requests, seconds


def test_the_issuer_is_tried_again_in_two_seconds_although_the_clock_is_set_back(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock, elapsed: Clock
) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (503, {}, {})
    assert api.call("first").status_code == 503
    del issuer.overridden_responses[INTROSPECTION_PATH]

    clock.forward(-600)
    elapsed.forward(2)
    issuer.introspection_responses["opaque"] = {"active": True, **issuer.claims()}

    assert api.accepts("opaque")


def test_the_outage_of_one_issuer_does_not_concern_the_tokens_of_another(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        second.overridden_responses[INTROSPECTION_PATH] = (503, {}, {})
        issuer.introspection_responses["a_1"] = issuer.introspection_responses["opaque"]
        first, other = (
            IntrospectionClient(client_id="api", client_secret="s", prefix=prefix) for prefix in ("a_", "b_")
        )
        api = StandaloneApi(
            clock, TrustedIssuer(issuer.url, introspection=first), TrustedIssuer(second.url, introspection=other)
        )

        assert api.call("b_1").status_code == 503
        assert api.accepts("a_1")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"active": true, "active": false}'])
def test_a_response_that_is_not_a_json_object_gets_503(api: StandaloneApi, issuer: FakeIssuer, body: bytes) -> None:
    issuer.overridden_responses[INTROSPECTION_PATH] = (200, body, {})

    assert api.call("opaque").status_code == 503


def test_a_cached_token_is_accepted_while_the_issuer_is_unavailable(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts("opaque")
    issuer.is_down = True
    clock.forward(4)
    assert api.accepts("opaque")
    clock.forward(2)
    assert api.call("opaque").status_code == 503


def test_concurrent_calls_with_one_token_share_one_introspection(api: StandaloneApi, issuer: FakeIssuer) -> None:
    barrier = threading.Barrier(8, timeout=5)
    issuer.release_event = threading.Event()
    threading.Timer(0.3, issuer.release_event.set).start()

    def call(_: int) -> bool:
        barrier.wait()
        return api.accepts("opaque")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1


def test_a_jwt_is_introspected_only_if_always_is_set(clock: Clock, issuer: FakeIssuer) -> None:
    default_api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))
    always = IntrospectionClient(client_id="api", client_secret="s", always=True)
    always_api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=always))
    token = issuer.token()

    assert default_api.accepts(token)
    assert not always_api.accepts(token)
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1
    clock.forward(10)
    issuer.introspection_responses[token] = issuer.introspection_responses["opaque"]
    assert always_api.accepts(token)
    assert not always_api.accepts(issuer.token(exp=1))  # an expired token is not introspected
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 2


def test_no_issuer_receives_the_token_of_another(clock: Clock, issuer: FakeIssuer) -> None:
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
