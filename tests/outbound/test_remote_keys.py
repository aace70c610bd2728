"""The keys of others: found by kid and algorithm, kept as HTTP allows, fetched seldom."""

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

from tests.support.browser_client import Clock
from valetkey.outbound.errors import FetchFailed, FetchRefused
from valetkey.outbound.http import Fetcher, FetchResponse
from valetkey.outbound.remote_keys import RemoteKeys

URI = "https://shop.example/jwks"
EC1, EC2 = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("one", "two"))
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER_CURVE = ECKey.generate_key("P-384", {"kid": "one"})


class Site(Fetcher):
    """Answers for the network, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.problem: Exception | None = None
        self.body = b""
        self.age = 300
        self.before_answer: Callable[[], object] = lambda: None

    def publish(self, *keys: Any) -> None:
        jwks = [key.as_dict(private=False) if isinstance(key, Key) else key for key in keys]
        self.body = json.dumps({"keys": jwks}).encode()

    def get(self, url: str, **bounds: Any) -> FetchResponse:
        self.asked.append(url)
        self.before_answer()
        if self.problem:
            raise self.problem
        return FetchResponse(200, {}, self.body, url, self.age)


@pytest.fixture
def site() -> Site:
    site = Site()
    site.publish(EC1, RSA)
    return site


@pytest.fixture
def keys(site: Site, clock: Clock) -> RemoteKeys:
    return RemoteKeys(site, clock)


def test_a_key_found_verifies_a_signature(keys: RemoteKeys) -> None:
    for private, alg in ((EC1, "ES256"), (RSA, "RS256"), (RSA, "PS256")):
        found = keys.find(URI, private.kid, alg)
        assert found is not None
        assert not found.is_private
        signed = jws.serialize_compact({"alg": alg}, b"hello", private, algorithms=[alg])
        assert jws.deserialize_compact(signed, found, algorithms=[alg]).payload == b"hello"


def test_a_fresh_set_is_not_fetched_again_and_an_old_one_is(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    for seconds in (0, 299, 2):
        clock.forward(seconds)
        assert keys.find(URI, "one", "ES256")
    assert len(site.asked) == 2


def test_what_must_not_be_kept_is_kept_for_a_minute_all_the_same(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    site.age = 0
    for seconds in (0, 59, 2):
        clock.forward(seconds)
        assert keys.find(URI, "one", "ES256")
    assert len(site.asked) == 2


def test_an_unknown_kid_asks_again_once_a_minute_at_most(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    assert keys.find(URI, "one", "ES256")
    site.publish(EC1, EC2)
    assert keys.find(URI, "two", "ES256") is None
    clock.forward(60)
    assert keys.find(URI, "two", "ES256")
    for number in range(100):
        assert keys.find(URI, f"guess {number}", "ES256") is None
    assert len(site.asked) == 2


def test_a_key_that_is_no_longer_published_is_no_longer_found(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    assert keys.find(URI, "one", "ES256")
    site.publish(EC2)
    clock.forward(301)
    assert keys.find(URI, "one", "ES256") is None


@pytest.mark.parametrize("problem", [FetchFailed("no answer"), FetchRefused("not at an address")])
def test_a_set_that_cannot_be_had_is_asked_for_once_a_minute(
    keys: RemoteKeys, site: Site, clock: Clock, problem: Exception
) -> None:
    site.problem = problem
    for _ in range(10):
        with pytest.raises(type(problem), match=str(problem)):
            keys.find(URI, "one", "ES256")
    assert len(site.asked) == 1
    site.problem = None
    clock.forward(60)
    assert keys.find(URI, "one", "ES256")


def test_known_keys_outlive_an_outage_by_an_hour_and_no_more(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    assert keys.find(URI, "one", "ES256")
    site.problem = FetchFailed("no answer")
    clock.forward(3600)
    assert keys.find(URI, "one", "ES256")
    with pytest.raises(FetchFailed):
        keys.find(URI, "two", "ES256")
    clock.forward(61)
    with pytest.raises(FetchFailed):
        keys.find(URI, "one", "ES256")


def test_without_kid_the_only_key_that_fits_is_found(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    assert keys.find(URI, None, "ES256")
    assert keys.find(URI, None, "RS256")
    site.publish(EC1, EC2)
    clock.forward(301)
    assert keys.find(URI, None, "ES256") is None


EC1_PUBLIC = EC1.as_dict(private=False)
UNFIT: dict[str, tuple[Mapping[str, Any], str]] = {
    "for encryption": ({**EC1_PUBLIC, "use": "enc"}, "ES256"),
    "for signing only": ({**EC1_PUBLIC, "key_ops": ["sign"]}, "ES256"),
    "for another algorithm": ({**EC1_PUBLIC, "alg": "ES384"}, "ES256"),
    "of another kind": (EC1_PUBLIC, "RS256"),
    "on another curve": (OTHER_CURVE.as_dict(private=False), "ES256"),
    "not on its curve": ({**EC1_PUBLIC, "x": EC1_PUBLIC["y"]}, "ES256"),
    "symmetric": ({"kty": "oct", "k": "dmlvbGV0", "kid": "one"}, "HS256"),
    "for no algorithm": (EC1_PUBLIC, "none"),
    "too short": ({"kty": "RSA", "n": "u" * 170 + "E", "e": "AQAB", "kid": "one"}, "RS256"),
    "too long": ({"kty": "RSA", "n": "u" * 20_000, "e": "AQAB", "kid": "one"}, "RS256"),
    "of a costly exponent": ({**RSA.as_dict(private=False), "e": "u" * 199 + "B", "kid": "one"}, "RS256"),
}


@pytest.mark.parametrize(("jwk", "alg"), UNFIT.values(), ids=UNFIT)
def test_a_key_that_does_not_fit_is_not_found(keys: RemoteKeys, site: Site, jwk: Mapping[str, Any], alg: str) -> None:
    site.publish(jwk)
    assert keys.find(URI, "one", alg) is None


def test_a_private_key_published_by_mistake_verifies_and_is_not_kept(keys: RemoteKeys, site: Site) -> None:
    site.publish(EC1.as_dict(private=True))
    found = keys.find(URI, "one", "ES256")
    assert found is not None
    assert not found.is_private


def test_a_set_has_few_keys_and_few_sets_are_kept(
    keys: RemoteKeys, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(*({**EC1_PUBLIC, "kid": str(number)} for number in range(100)))
    assert keys.find(URI, "31", "ES256")
    assert keys.find(URI, "32", "ES256") is None
    monkeypatch.setattr(keys._sets, "_max_entries", 3)
    for number in range(10):
        keys.find(f"{URI}/{number}", "0", "ES256")
    asked = len(site.asked)
    keys.find(f"{URI}/9", "0", "ES256")
    assert len(site.asked) == asked
    keys.find(f"{URI}/0", "0", "ES256")
    assert len(site.asked) == asked + 1


def test_however_many_ask_at_once_one_fetch_is_made(keys: RemoteKeys, site: Site) -> None:
    everybody = threading.Barrier(8, timeout=5)
    site.before_answer = lambda: time.sleep(0.1)

    def find(_: int) -> Key | None:
        everybody.wait()
        return keys.find(URI, "one", "ES256")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(find, range(8)))
    assert len(site.asked) == 1


def test_a_known_kid_does_not_wait_for_the_fetch_of_an_unknown_one(keys: RemoteKeys, site: Site, clock: Clock) -> None:
    assert keys.find(URI, "one", "ES256")
    clock.forward(60)
    under_way, answer = threading.Event(), threading.Event()

    def wait() -> None:
        under_way.set()
        answer.wait(5)

    site.before_answer = wait
    with ThreadPoolExecutor(2) as pool:
        unknown = pool.submit(keys.find, URI, "guess", "ES256")
        assert under_way.wait(5)
        assert pool.submit(keys.find, URI, "one", "ES256").result(timeout=2)
        assert not unknown.done()
        answer.set()
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
def test_whatever_is_published_it_is_a_set_or_a_failed_fetch(document: Any) -> None:
    site = Site()
    site.body = json.dumps(document).encode()
    for alg in ("ES256", "RS256", "EdDSA"):
        with suppress(FetchFailed):
            RemoteKeys(site, Clock()).find(URI, "one", alg)
