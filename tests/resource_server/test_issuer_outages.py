"""Issuers that rotate keys, are unavailable, publish wrong metadata or are slow; floods of forged tokens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.resource_server.fake_issuer import EC_KEY, JWKS_PATH, OPENID_CONFIGURATION_PATH, OTHER_RSA_KEY, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from tests.support.hostile_server import HostileServer, drip, flood, never_respond, redirect_to
from valetkey import IntrospectionClient, TrustedIssuer
from valetkey.resource_server import standalone_context

DAY = 86_400


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        yield running


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, issuer.url)


def test_a_new_key_is_fetched_when_its_first_token_comes(api: StandaloneApi, issuer: FakeIssuer, clock: Clock) -> None:
    assert api.accepts(issuer.token())
    clock.forward(31)
    issuer.published_keys = [OTHER_RSA_KEY]

    assert api.accepts(issuer.token(key=OTHER_RSA_KEY))


@pytest.mark.parametrize("old_keys", ["remain", "are gone"])
def test_a_new_key_at_a_new_jwks_uri_is_found_although_the_metadata_is_cached_for_a_day(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock, old_keys: str
) -> None:
    issuer.cache_control = f"max-age={DAY}"
    assert api.accepts(issuer.token())
    clock.forward(31)
    moved = {**issuer.metadata, "jwks_uri": f"{issuer.url}/moved"}
    issuer.overridden_responses[OPENID_CONFIGURATION_PATH] = (200, moved, {})
    issuer.overridden_responses["/moved"] = (200, {"keys": [OTHER_RSA_KEY.as_dict(private=False)]}, {})
    if old_keys == "are gone":
        issuer.overridden_responses[JWKS_PATH] = (404, {}, {})

    assert api.accepts(issuer.token(key=OTHER_RSA_KEY))
    for number in range(20):
        assert not api.accepts(issuer.token(key=OTHER_RSA_KEY, header={"kid": f"guess {number}"}))
    assert issuer.requested_paths.count(OPENID_CONFIGURATION_PATH) == 2


def test_tokens_of_a_withdrawn_key_are_refused_even_if_they_were_verified_before(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock()) + 10_000)
    assert api.accepts(token)
    issuer.published_keys = [EC_KEY]

    clock.forward(600)

    assert not api.accepts(token)


def test_a_flood_of_unknown_key_ids_fetches_keys_at_most_twice_a_minute(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts(issuer.token())
    clock.forward(31)

    for number in range(100):
        assert not api.accepts(issuer.token(key=OTHER_RSA_KEY, header={"kid": f"guess {number}"}))

    assert issuer.requested_paths.count(JWKS_PATH) == 2
    assert issuer.requested_paths.count(OPENID_CONFIGURATION_PATH) == 2
    assert api.accepts(issuer.token(jti="2"))


def test_cached_keys_are_used_for_a_day_while_the_issuer_is_unavailable(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts(issuer.token())
    issuer.is_down = True

    for _ in range(4):
        clock.forward(DAY / 4 - 10)
        assert api.accepts(issuer.token())
    clock.forward(60)

    assert api.call(issuer.token()).status_code == 503


def test_without_cached_keys_a_call_gets_503_and_the_issuer_is_soon_retried(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    issuer.is_down = True
    for _ in range(5):
        refused = api.call(issuer.token())
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.content_type == "application/problem+json"
        assert "WWW-Authenticate" not in refused.headers
    assert len(issuer.requested_paths) == 2  # both well-known addresses, once

    issuer.is_down = False
    clock.forward(5)

    assert api.accepts(issuer.token())


def test_an_unavailable_issuer_does_not_affect_another(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        api = StandaloneApi(clock, issuer.url, second.url)
        second.is_down = True

        assert api.call(second.token()).status_code == 503
        assert api.accepts(issuer.token())


def test_concurrent_first_calls_fetch_metadata_and_keys_once(api: StandaloneApi, issuer: FakeIssuer) -> None:
    """A server has just started: more calls wait than may wait for long."""
    barrier, tokens = threading.Barrier(30, timeout=5), [issuer.token(jti=str(number)) for number in range(30)]
    issuer.release_event = threading.Event()
    threading.Timer(0.2, issuer.release_event.set).start()

    def call(token: str) -> bool:
        barrier.wait()
        return api.accepts(token)

    with ThreadPoolExecutor(30) as pool:
        assert all(pool.map(call, tokens))
    assert issuer.requested_paths == [OPENID_CONFIGURATION_PATH, JWKS_PATH]


def test_no_call_waits_for_a_refresh_while_the_cached_keys_are_usable(issuer: FakeIssuer, clock: Clock) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, jwks_uri=f"{issuer.url}{JWKS_PATH}"))
    assert api.accepts(issuer.token())
    clock.forward(3600)
    issuer.release_event = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.accepts, issuer.token(jti="first"))
        while len(issuer.requested_paths) < 2:
            time.sleep(0.01)

        began = time.monotonic()
        assert api.accepts(issuer.token(jti="second"))

        assert time.monotonic() - began < 2
        issuer.release_event.set()
        assert first.result(5)


WRONG_METADATA: dict[str, Callable[[FakeIssuer], None]] = {
    "names another issuer": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**issuer.metadata, "issuer": "https://a"}, {})}
    ),
    "names itself with a slash at the end": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**issuer.metadata, "issuer": f"{issuer.url}/"}, {})}
    ),
    "has no keys": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {"issuer": issuer.url}, {})}
    ),
    "has keys behind plain http": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**issuer.metadata, "jwks_uri": "http://10.0.0.1/jwks"}, {})}
    ),
    "has keys in a file": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**issuer.metadata, "jwks_uri": "file:///etc/passwd"}, {})}
    ),
    "is a list": lambda issuer: issuer.overridden_responses.update({OPENID_CONFIGURATION_PATH: (200, [], {})}),
    "is HTML": lambda issuer: issuer.overridden_responses.update({OPENID_CONFIGURATION_PATH: (200, b"<html>", {})}),
    "is huge": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, b"[" + b"0," * 100_000, {})}
    ),
    "redirects": lambda issuer: issuer.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (302, {}, {"Location": f"{issuer.url}/other"})}
    ),
    "has a number as keys": lambda issuer: issuer.overridden_responses.update({JWKS_PATH: (200, {"keys": 5}, {})}),
}


@pytest.mark.parametrize("publish", WRONG_METADATA.values(), ids=WRONG_METADATA)
def test_wrong_metadata_gets_503(api: StandaloneApi, issuer: FakeIssuer, publish: Callable[[FakeIssuer], None]) -> None:
    publish(issuer)

    assert api.call(issuer.token()).status_code == 503


def test_a_redirect_into_the_internal_network_is_not_followed(clock: Clock, issuer: FakeIssuer) -> None:
    with HostileServer(redirect_to("http://127.0.0.2/")) as inside, HostileServer(never_respond, "127.0.0.2") as secret:
        issuer.overridden_responses[JWKS_PATH] = (302, {}, {"Location": secret.url()})
        api = StandaloneApi(clock, issuer.url)  # requests are allowed to 127.0.0.1 only

        assert api.call(issuer.token()).status_code == 503
        assert secret.requests == inside.requests == []


SLOW_RESPONSES = {
    "silent": never_respond,
    "dripping": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "dripping headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "endless": flood(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536, 100),
}


@pytest.mark.parametrize("behaviour", SLOW_RESPONSES.values(), ids=SLOW_RESPONSES)
def test_a_response_that_never_ends_gets_503_in_bounded_time(
    clock: Clock, issuer: FakeIssuer, behaviour: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_context, "_FETCH_TIMEOUT_S", 0.3)
    with HostileServer(behaviour) as hostile:
        api = StandaloneApi(clock, TrustedIssuer(issuer.url, jwks_uri=hostile.url()))
        began = time.monotonic()

        with ThreadPoolExecutor(8) as pool:
            statuses = [call.status_code for call in pool.map(api.call, [issuer.token(jti=str(n)) for n in range(8)])]

        assert statuses == [503] * 8
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("kind", ["forged", "opaque"])
def test_calls_that_wait_for_a_silent_issuer_do_not_hold_all_threads(
    clock: Clock, issuer: FakeIssuer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_context, "_FETCH_TIMEOUT_S", 2.5)
    with HostileServer(never_respond) as silent:
        introspection = IntrospectionClient(client_id="a", client_secret="b", endpoint=silent.url())
        api = StandaloneApi(clock, issuer.url, TrustedIssuer(silent.url().rstrip("/"), introspection=introspection))
        assert api.accepts(issuer.token())

        def call(number: int) -> tuple[int, str | None, bool]:
            token = issuer.token(iss=silent.url().rstrip("/"), jti=str(number)) if kind == "forged" else f"x{number}"
            began = time.monotonic()
            response = api.call(token)
            return response.status_code, response.headers.get("Retry-After"), time.monotonic() - began < 2

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(call, range(16)))

        assert {status for status, _, _ in answers} == {503}
        failed_after_a_second = [retry_after for _, retry_after, is_quick in answers if is_quick]
        assert failed_after_a_second == ["1"] * (8 if kind == "forged" else 4)
