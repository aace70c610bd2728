"""What a judge remembers: bounded, and gone when it is told to forget, also what was just being read."""

from __future__ import annotations

from flask import Flask

from tests.conftest import Register
from tests.support.browser_client import Browser
from valetkey.caches.two_generation import AccessTokenCache
from valetkey.protocol.access_token import AccessToken, parse_access_token
from valetkey.runtime import Runtime

CLAIMS = {"iss": "i", "client_id": "c", "sub": "s", "aud": "a", "iat": 1, "exp": 2, "jti": "j"}
TOKEN: AccessToken = parse_access_token(CLAIMS)


def test_what_was_read_before_everything_was_forgotten_is_not_remembered() -> None:
    memory = AccessTokenCache()
    generation = memory.generation
    memory.invalidate()  # the keys changed while the token was read by the old ones

    memory.add(b"digest", TOKEN, generation)

    assert memory.find(b"digest") is None


def test_a_token_in_use_outlives_any_number_of_others() -> None:
    memory = AccessTokenCache(10)
    memory.add(b"used", TOKEN, memory.generation)

    for number in range(1000):
        memory.add(b"%d" % number, TOKEN, memory.generation)
        assert memory.find(b"used") is TOKEN

    assert len(memory.recent) + len(memory._previous) <= 20


def test_however_the_header_is_written_a_token_has_one_entry(app: Flask, runtime: Runtime, register: Register) -> None:
    """And one of bounded length: spaces and case are the sender's."""
    robot = Browser(app.test_client(), register("machine"))
    value = robot.request_token("client_credentials").json["access_token"]
    judge, now = runtime.verifier, runtime.clock()

    forms = [
        f"{scheme} {' ' * more}{value}{' ' * more}" for scheme in ("Bearer", "bearer", "BEARER") for more in (0, 9)
    ]
    tokens = [judge.verify_header(form, now) for form in forms] + [judge.verify(value, now)]

    assert all(token is tokens[0] for token in tokens)
    assert list(judge._cache.recent) == [f"Bearer {value}"]
