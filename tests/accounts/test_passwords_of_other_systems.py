"""Passwords that are typed on another system, which sends other code points for the same text (RFC 8265 §4.2)."""

from __future__ import annotations

import unicodedata

import pytest

from tests.support.browser_client import EMAIL, Browser
from valetkey.accounts.password import hash_password, verify_password

COMPOSED = "crème brûlée für Zoë"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
SPACED = COMPOSED.replace(" ", "\u00a0")


@pytest.mark.parametrize("stored", [COMPOSED, DECOMPOSED, SPACED])
@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED, SPACED])
def test_a_password_is_the_same_in_each_form_of_its_text(stored: str, typed: str) -> None:
    assert verify_password(typed, hash_password(stored))


@pytest.mark.parametrize("typed", [COMPOSED.upper(), COMPOSED.replace(" ", ""), "creme brulee fur Zoe", "crème brûlée"])
def test_another_text_is_another_password(typed: str) -> None:
    assert not verify_password(typed, hash_password(COMPOSED))


@pytest.mark.parametrize("password", [COMPOSED, DECOMPOSED, SPACED])
def test_a_hash_of_an_earlier_version_still_verifies(password: str) -> None:
    from valetkey.accounts.password import _hasher

    assert verify_password(password, _hasher().hash(password))


def test_a_user_signs_in_with_the_password_of_another_system(ada: Browser) -> None:
    ada.http.delete_cookie("valetkey_session")
    assert ada.sign_up("nora@example.org", DECOMPOSED).status_code == 303
    ada.http.delete_cookie("valetkey_session")

    assert ada.sign_in("nora@example.org", COMPOSED).status_code == 303
    assert ada.sign_in(EMAIL, COMPOSED).status_code == 400
