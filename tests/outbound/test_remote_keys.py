"""Keys of other servers: found by kid and algorithm, cached as HTTP allows, fetched at most once a minute."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

from tests.support.clock import Clock
from valetkey.outbound.errors import FetchFailed, FetchRefused
from valetkey.outbound.http import Fetcher, FetchResponse
from valetkey.outbound.remote_keys import RemoteKeys

URI = "https://shop.example/jwks"
EC1, EC2 = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("one", "two"))
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER_CURVE = ECKey.generate_key("P-384", {"kid": "one"})


class FakeFetcher(Fetcher):
    """Fetcher without a network: responds with a document or an error, and records the URLs that were fetched."""

    def __init__(self) -> None:
        self.fetched_urls: list[str] = []
        self.error: Exception | None = None
        self.body = b""
        self.max_age = 300
        self.before_response: Callable[[], object] = lambda: None

    def publish(self, *keys: Any) -> None:
        jwks = [key.as_dict(private=False) if isinstance(key, Key) else key for key in keys]
        self.body = json.dumps({"keys": jwks}).encode()

    def get(self, url: str, **limits: Any) -> FetchResponse:
        self.fetched_urls.append(url)
        self.before_response()
        if self.error:
            raise self.error
        return FetchResponse(200, {}, self.body, url, self.max_age)


@pytest.fixture
def server() -> FakeFetcher:
    server = FakeFetcher()
    server.publish(EC1, RSA)
    return server


@pytest.fixture
def keys(server: FakeFetcher, clock: Clock) -> RemoteKeys:
    return RemoteKeys(server, clock)


def test_the_key_that_is_found_verifies_a_signature(keys: RemoteKeys) -> None:
    for private, alg in ((EC1, "ES256"), (RSA, "RS256"), (RSA, "PS256")):
        key = keys.find(URI, private.kid, alg)
        assert key is not None
        assert not key.is_private
        signed = jws.serialize_compact({"alg": alg}, b"hello", private, algorithms=[alg])
        assert jws.deserialize_compact(signed, key, algorithms=[alg]).payload == b"hello"


def test_a_set_is_fetched_again_when_it_is_no_longer_fresh(keys: RemoteKeys, server: FakeFetcher, clock: Clock) -> None:
    for seconds in (0, 299, 2):
        clock.forward(seconds)
        assert keys.find(URI, "one", "ES256")
    assert len(server.fetched_urls) == 2


def test_a_set_with_max_age_0_is_cached_for_a_minute(keys: RemoteKeys, server: FakeFetcher, clock: Clock) -> None:
    server.max_age = 0
    for seconds in (0, 59, 2):
        clock.forward(seconds)
        assert keys.find(URI, "one", "ES256")
    assert len(server.fetched_urls) == 2


def test_an_unknown_kid_causes_a_fetch_at_most_once_a_minute(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    server.publish(EC1, EC2)
    assert keys.find(URI, "two", "ES256") is None
    clock.forward(60)
    assert keys.find(URI, "two", "ES256")
    for number in range(100):
        assert keys.find(URI, f"guess {number}", "ES256") is None
    assert len(server.fetched_urls) == 2


def test_a_key_that_is_no_longer_published_is_no_longer_found(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    server.publish(EC2)
    clock.forward(301)
    assert keys.find(URI, "one", "ES256") is None


@pytest.mark.parametrize("error", [FetchFailed("no response"), FetchRefused("no public address")])
def test_after_a_failure_a_set_is_fetched_again_once_a_minute(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock, error: Exception
) -> None:
    server.error = error
    for _ in range(10):
        with pytest.raises(type(error), match=str(error)):
            keys.find(URI, "one", "ES256")
    assert len(server.fetched_urls) == 1
    server.error = None
    clock.forward(60)
    assert keys.find(URI, "one", "ES256")


def test_after_the_clock_was_set_back_a_set_is_fetched_at_once_and_then_as_rarely_as_before(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    server.publish(EC2)
    clock.forward(-86_400)

    assert keys.find(URI, "two", "ES256")
    assert keys.find(URI, "one", "ES256") is None
    assert len(server.fetched_urls) == 2


def test_an_unknown_kid_causes_a_fetch_after_the_clock_was_set_back_by_less_than_a_set_is_fresh(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    clock.forward(250)
    server.publish(EC1, EC2)
    assert keys.find(URI, "two", "ES256")
    server.publish(EC1, RSA)
    clock.forward(-100)

    assert keys.find(URI, RSA.kid, "RS256")


def test_a_failed_fetch_is_tried_again_after_the_clock_was_set_back(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    server.error = FetchFailed("no response")
    with pytest.raises(FetchFailed):
        keys.find(URI, "one", "ES256")
    server.error = None
    clock.forward(-86_400)

    assert keys.find(URI, "one", "ES256")


def test_cached_keys_can_be_used_for_an_hour_of_an_outage_after_the_clock_was_set_back(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    server.error = FetchFailed("no response")
    clock.forward(-86_400)
    assert keys.find(URI, "one", "ES256")
    clock.forward(3601)

    with pytest.raises(FetchFailed):
        keys.find(URI, "one", "ES256")


def test_cached_keys_can_be_used_for_an_hour_of_an_outage(keys: RemoteKeys, server: FakeFetcher, clock: Clock) -> None:
    assert keys.find(URI, "one", "ES256")
    server.error = FetchFailed("no response")
    clock.forward(3600)
    assert keys.find(URI, "one", "ES256")
    with pytest.raises(FetchFailed):
        keys.find(URI, "two", "ES256")
    clock.forward(61)
    with pytest.raises(FetchFailed):
        keys.find(URI, "one", "ES256")


def test_without_a_kid_a_key_is_found_only_if_no_other_fits(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, None, "ES256")
    assert keys.find(URI, None, "RS256")
    server.publish(EC1, EC2)
    clock.forward(301)
    assert keys.find(URI, None, "ES256") is None


EC1_PUBLIC = EC1.as_dict(private=False)
UNFIT: dict[str, tuple[Mapping[str, Any], str]] = {
    "for encryption": ({**EC1_PUBLIC, "use": "enc"}, "ES256"),
    "for signing only": ({**EC1_PUBLIC, "key_ops": ["sign"]}, "ES256"),
    "for another algorithm": ({**EC1_PUBLIC, "alg": "ES384"}, "ES256"),
    "of another key type": (EC1_PUBLIC, "RS256"),
    "on another curve": (OTHER_CURVE.as_dict(private=False), "ES256"),
    "with a point that is not on its curve": ({**EC1_PUBLIC, "x": EC1_PUBLIC["y"]}, "ES256"),
    "symmetric": ({"kty": "oct", "k": "dmlvbGV0", "kid": "one"}, "HS256"),
    "with the algorithm none": (EC1_PUBLIC, "none"),
    "too short": ({"kty": "RSA", "n": "u" * 170 + "E", "e": "AQAB", "kid": "one"}, "RS256"),
    "too long": ({"kty": "RSA", "n": "u" * 20_000, "e": "AQAB", "kid": "one"}, "RS256"),
    "with an exponent that is too long": ({**RSA.as_dict(private=False), "e": "u" * 199 + "B", "kid": "one"}, "RS256"),
}


@pytest.mark.parametrize(("jwk", "alg"), UNFIT.values(), ids=UNFIT)
def test_an_unusable_key_is_not_found(keys: RemoteKeys, server: FakeFetcher, jwk: Mapping[str, Any], alg: str) -> None:
    server.publish(jwk)
    assert keys.find(URI, "one", alg) is None


def test_of_a_private_key_that_is_published_only_the_public_part_is_cached(
    keys: RemoteKeys, server: FakeFetcher
) -> None:
    server.publish(EC1.as_dict(private=True))
    key = keys.find(URI, "one", "ES256")
    assert key is not None
    assert not key.is_private


def test_the_number_of_keys_in_a_set_and_of_cached_sets_is_limited(
    keys: RemoteKeys, server: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(*({**EC1_PUBLIC, "kid": str(number)} for number in range(100)))
    assert keys.find(URI, "31", "ES256")
    assert keys.find(URI, "32", "ES256") is None
    monkeypatch.setattr(keys._sets, "_max_entries", 3)
    for number in range(10):
        keys.find(f"{URI}/{number}", "0", "ES256")
    fetches = len(server.fetched_urls)
    keys.find(f"{URI}/9", "0", "ES256")
    assert len(server.fetched_urls) == fetches
    keys.find(f"{URI}/0", "0", "ES256")
    assert len(server.fetched_urls) == fetches + 1


def test_concurrent_requests_share_one_fetch(keys: RemoteKeys, server: FakeFetcher) -> None:
    barrier = threading.Barrier(8, timeout=5)
    server.before_response = lambda: time.sleep(0.1)

    def find(_: int) -> Key | None:
        barrier.wait()
        return keys.find(URI, "one", "ES256")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(find, range(8)))
    assert len(server.fetched_urls) == 1


def test_a_cached_kid_does_not_wait_for_the_fetch_of_an_unknown_one(
    keys: RemoteKeys, server: FakeFetcher, clock: Clock
) -> None:
    assert keys.find(URI, "one", "ES256")
    clock.forward(60)
    fetch_started, respond = threading.Event(), threading.Event()

    def wait() -> None:
        fetch_started.set()
        respond.wait(5)

    server.before_response = wait
    with ThreadPoolExecutor(2) as pool:
        unknown = pool.submit(keys.find, URI, "guess", "ES256")
        assert fetch_started.wait(5)
        assert pool.submit(keys.find, URI, "one", "ES256").result(timeout=2)
        assert not unknown.done()
        respond.set()
        assert unknown.result(timeout=5) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = ["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]
MEMBER = JSON | st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "ES256", "sig", "one", "A" * 342, "AQAB"])


@settings(deadline=None)
@given(
    JSON
    | st.fixed_dictionaries({"keys": JSON | st.lists(st.dictionaries(st.sampled_from(MEMBERS), MEMBER), max_size=2)})
)
def test_any_document_is_a_set_or_a_failed_fetch(document: Any) -> None:
    server = FakeFetcher()
    server.body = json.dumps(document).encode()
    for alg in ("ES256", "RS256", "EdDSA"):
        with suppress(FetchFailed):
            RemoteKeys(server, Clock()).find(URI, "one", alg)
