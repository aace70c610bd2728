"""Secrets do not print, carry a checksum, and are kept as digests."""

from __future__ import annotations

import copy
import hashlib
import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol.secret import (
    ACCESS_TOKEN,
    AUTHORIZATION_CODE,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    Secret,
    generate_secret,
    is_well_formed,
    random_id,
)

KINDS = [ACCESS_TOKEN, AUTHORIZATION_CODE, CLIENT_SECRET, REFRESH_TOKEN]


def test_a_secret_does_not_print(caplog: pytest.LogCaptureFixture) -> None:
    secret = generate_secret(CLIENT_SECRET)
    logging.getLogger("test").warning("%s %r", secret, [secret])
    try:
        raise ValueError(secret)
    except ValueError:
        shown = traceback.format_exc()

    told = f"{secret} {secret!r} {[secret]} { ({'a': secret}) } {shown} {caplog.text}"
    assert secret.reveal() not in told
    assert secret.reveal()[10:20] not in told
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("kind", KINDS)
def test_its_kind_is_told_from_its_form(kind: str) -> None:
    value = generate_secret(kind).reveal()

    assert value.startswith(f"vk_{kind}_")
    assert [other for other in KINDS if is_well_formed(value, other)] == [kind]


@given(st.integers(0, 55), st.sampled_from("abcXYZ019_-é "))
def test_one_wrong_character_is_seen_without_a_database(place: int, other: str) -> None:
    value = generate_secret(ACCESS_TOKEN).reveal()
    changed = value[:place] + other + value[place + 1 :]

    assert is_well_formed(changed, ACCESS_TOKEN) is (changed == value)


@given(st.text(max_size=80))
def test_other_text_is_no_secret(text: str) -> None:
    assert not is_well_formed(text, ACCESS_TOKEN)
    assert not is_well_formed(generate_secret(ACCESS_TOKEN).reveal() + text + "x", ACCESS_TOKEN)


def test_no_two_are_alike() -> None:
    assert len({generate_secret(REFRESH_TOKEN) for _ in range(2000)}) == 2000
    assert len({random_id() for _ in range(2000)}) == 2000
    assert {len(random_id(n)) for n in (12, 22, 40)} == {12, 22, 40}


def test_a_double_click_selects_the_whole_of_it() -> None:
    assert all(generate_secret(REFRESH_TOKEN).reveal().replace("_", "").isalnum() for _ in range(200))


def test_it_matches_its_digest_and_no_other() -> None:
    secret, other = generate_secret(CLIENT_SECRET), generate_secret(CLIENT_SECRET)

    assert secret.digest() == hashlib.sha256(secret.reveal().encode()).digest()
    assert secret.matches(secret.digest())
    assert not secret.matches(other.digest())
    assert secret == Secret(secret.reveal()) == copy.copy(secret)
    assert secret != other
    assert secret != secret.reveal()
