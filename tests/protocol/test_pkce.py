"""Proof Key for Code Exchange (RFC 7636): the test vector of appendix B, and S256 only."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from valetkey.protocol.errors import InvalidGrant, InvalidRequest
from valetkey.protocol.parameters import Parameters
from valetkey.protocol.pkce import check_code_verifier, parse_code_challenge, s256

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
verifiers = st.text(string.ascii_letters + string.digits + "-._~", min_size=43, max_size=128)


def test_s256_matches_the_test_vector_of_appendix_b() -> None:
    assert s256(VERIFIER) == CHALLENGE
    check_code_verifier(VERIFIER, CHALLENGE)


@given(verifiers)
def test_a_code_verifier_matches_its_own_challenge(verifier: str) -> None:
    challenge = parse_code_challenge(
        Parameters({"code_challenge": s256(verifier), "code_challenge_method": "S256"}), required=True
    )

    check_code_verifier(verifier, challenge)


@given(verifiers, verifiers)
def test_another_code_verifier_does_not_match(verifier: str, other: str) -> None:
    assume(verifier != other)
    with pytest.raises(InvalidGrant):
        check_code_verifier(other, s256(verifier))


@given(st.text(max_size=200))
def test_any_text_as_verifier_or_challenge_is_refused_with_an_oauth_error(text: str) -> None:
    with pytest.raises(InvalidGrant):
        check_code_verifier(text, CHALLENGE)
    with pytest.raises(InvalidRequest):
        parse_code_challenge(Parameters({"code_challenge": text, "code_challenge_method": "plain"}), required=False)


def test_a_code_verifier_without_a_challenge_is_refused() -> None:
    with pytest.raises(InvalidGrant):
        check_code_verifier(VERIFIER, None)
    check_code_verifier(None, None)


@pytest.mark.parametrize(
    "verifier",
    [None, "", "v" * 42, "v" * 129, "v" * 42 + " ", VERIFIER + "\n", CHALLENGE],
    ids=["missing", "empty", "too short", "too long", "with a space", "with a newline", "the challenge itself"],
)
def test_a_missing_malformed_or_wrong_code_verifier_is_refused(verifier: str | None) -> None:
    with pytest.raises(InvalidGrant):
        check_code_verifier(verifier, CHALLENGE)


@pytest.mark.parametrize(
    ("challenge", "method"),
    [
        (None, None),
        (None, "S256"),
        (CHALLENGE, None),
        (CHALLENGE, "plain"),
        (CHALLENGE, "s256"),
        (CHALLENGE + "=", "S256"),
        (CHALLENGE[:-1], "S256"),
        (CHALLENGE[:-1] + "+", "S256"),
        (CHALLENGE + "\n", "S256"),
        (VERIFIER + "~", "S256"),
    ],
    ids=[
        "both missing",
        "challenge missing",
        "method missing",
        "plain",
        "method in lower case",
        "with padding",
        "too short",
        "not base64url",
        "with a newline",
        "too long",
    ],
)
def test_a_missing_malformed_or_non_s256_challenge_is_refused(challenge: str | None, method: str | None) -> None:
    submitted = {"code_challenge": challenge, "code_challenge_method": method}
    with pytest.raises(InvalidRequest):
        parse_code_challenge(Parameters({name: value for name, value in submitted.items() if value}), required=True)


def test_a_challenge_can_be_omitted_if_it_is_not_required() -> None:
    assert parse_code_challenge(Parameters({}), required=False) is None
