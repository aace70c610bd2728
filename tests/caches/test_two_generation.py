"""The cache of verified tokens: its size is bounded, and invalidation covers tokens that are being verified."""

from __future__ import annotations

from flask import Flask

from tests.support.app import Register
from tests.support.browser_client import Browser
from valetkey.caches.two_generation import AccessTokenCache
from valetkey.protocol.access_token import AccessToken, parse_access_token
from valetkey.runtime import Runtime

CLAIMS = {"iss": "i", "client_id": "c", "sub": "s", "aud": "a", "iat": 1, "exp": 2, "jti": "j"}
TOKEN: AccessToken = parse_access_token(CLAIMS)


def test_a_token_that_was_verified_before_an_invalidation_is_not_cached() -> None:
    cache = AccessTokenCache()
    generation = cache.generation
    cache.invalidate()  # the keys changed while the token was verified with the old ones

    cache.add(b"digest", TOKEN, generation)

    assert cache.find(b"digest") is None


def test_a_token_in_use_stays_cached_while_any_number_of_others_are_added() -> None:
    cache = AccessTokenCache(10)
    cache.add(b"used", TOKEN, cache.generation)

    for number in range(1000):
        cache.add(b"%d" % number, TOKEN, cache.generation)
        assert cache.find(b"used") is TOKEN

    assert len(cache._recent) + len(cache._previous) <= 20


def test_a_token_has_one_cache_entry_whatever_the_spelling_of_the_header(
    app: Flask, runtime: Runtime, register: Register
) -> None:
    """The key of the entry has a bounded length too, although the sender chooses spaces and case."""
    machine = Browser(app.test_client(), register("machine"))
    value = machine.request_token("client_credentials").json["access_token"]
    verifier, now = runtime.verifier, runtime.clock()

    headers = [
        f"{scheme} {' ' * spaces}{value}{' ' * spaces}"
        for scheme in ("Bearer", "bearer", "BEARER")
        for spaces in (0, 9)
    ]
    tokens = [verifier.verify_header(header, now) for header in headers] + [verifier.verify(value, now)]

    assert all(token is tokens[0] for token in tokens)
    assert list(verifier._cache._recent) == [f"Bearer {value}"]
