"""Secrets are never printed, have a checksum, and are stored as digests."""

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


def test_a_secret_is_not_printed_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    secret = generate_secret(CLIENT_SECRET)
    logging.getLogger("test").warning("%s %r", secret, [secret])
    try:
        raise ValueError(secret)
    except ValueError:
        formatted = traceback.format_exc()

    printed = f"{secret} {secret!r} {[secret]} { ({'a': secret}) } {formatted} {caplog.text}"
    assert secret.reveal() not in printed
    assert secret.reveal()[10:20] not in printed
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_secret_is_recognized_by_its_format(kind: str) -> None:
    value = generate_secret(kind).reveal()

    assert value.startswith(f"vk_{kind}_")
    assert [other for other in KINDS if is_well_formed(value, other)] == [kind]


@given(st.integers(0, 55), st.sampled_from("abcXYZ019_-é "))
def test_the_checksum_detects_one_wrong_character(position: int, character: str) -> None:
    value = generate_secret(ACCESS_TOKEN).reveal()
    changed = value[:position] + character + value[position + 1 :]

    assert is_well_formed(changed, ACCESS_TOKEN) is (changed == value)


@given(st.text(max_size=80))
def test_other_text_is_not_a_well_formed_secret(text: str) -> None:
    assert not is_well_formed(text, ACCESS_TOKEN)
    assert not is_well_formed(generate_secret(ACCESS_TOKEN).reveal() + text + "x", ACCESS_TOKEN)


def test_generated_secrets_and_ids_are_unique() -> None:
    assert len({generate_secret(REFRESH_TOKEN) for _ in range(2000)}) == 2000
    assert len({random_id() for _ in range(2000)}) == 2000
    assert {len(random_id(n)) for n in (12, 22, 40)} == {12, 22, 40}


def test_a_double_click_selects_a_whole_secret() -> None:
    assert all(generate_secret(REFRESH_TOKEN).reveal().replace("_", "").isalnum() for _ in range(200))


def test_a_secret_matches_only_its_own_digest() -> None:
    secret, other = generate_secret(CLIENT_SECRET), generate_secret(CLIENT_SECRET)

    assert secret.digest() == hashlib.sha256(secret.reveal().encode()).digest()
    assert secret.matches(secret.digest())
    assert not secret.matches(other.digest())
    assert secret == Secret(secret.reveal()) == copy.copy(secret)
    assert secret != other
    assert secret != secret.reveal()
