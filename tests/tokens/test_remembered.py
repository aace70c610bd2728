"""What a judge remembers: bounded, and gone when it is told to forget, also what was just being read."""

from __future__ import annotations

import pytest

from valetkey.tokens import remembered
from valetkey.tokens.access_token import AccessToken, read_claims
from valetkey.tokens.remembered import RememberedTokens

CLAIMS = {"iss": "i", "client_id": "c", "sub": "s", "aud": "a", "iat": 1, "exp": 2, "jti": "j"}
TOKEN: AccessToken = read_claims(CLAIMS)


def test_what_was_read_before_everything_was_forgotten_is_not_remembered() -> None:
    memory = RememberedTokens()
    generation = memory.generation
    memory.forget()  # the keys changed while the token was read by the old ones

    memory.add(b"digest", TOKEN, generation)

    assert memory.find(b"digest") is None


def test_a_token_in_use_outlives_any_number_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 10)
    memory = RememberedTokens()
    memory.add(b"used", TOKEN, memory.generation)

    for number in range(1000):
        memory.add(b"%d" % number, TOKEN, memory.generation)
        assert memory.find(b"used") is TOKEN

    assert len(memory.young) + len(memory._old) <= 20


def test_a_dropped_token_is_read_again() -> None:
    memory = RememberedTokens()
    memory.add(b"digest", TOKEN, memory.generation)

    memory.drop(b"digest")

    assert memory.find(b"digest") is None
