"""The token in a request and the challenge in the answer (RFC 6750, RFC 9728), errors, problems."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientScope, InvalidRequest, InvalidToken, OAuthError, problem_body


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), ("", None), ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc")],
)
def test_a_token_is_read_whatever_the_case_of_its_scheme(header: str | None, token: str | None) -> None:
    assert bearer.parse_bearer_token(header) == token


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        ("Bearer", InvalidRequest),
        ("Bearer ", InvalidRequest),
        ("Bearer a b", InvalidRequest),
        ("Bearer a,Bearer b", InvalidRequest),
        ("Bearer " + "a" * 8193, InvalidToken),
        ("Bearer ä", InvalidToken),
        ("Basic abc", MissingToken),
        ("DPoP abc", MissingToken),
        ("abc", MissingToken),
    ],
)
def test_anything_else_is_refused(header: str, refusal: type[OAuthError]) -> None:
    with pytest.raises(refusal):
        bearer.parse_bearer_token(header)


@given(st.text(max_size=100))
def test_any_header_gives_a_token_or_a_refusal(header: str) -> None:
    try:
        token = bearer.parse_bearer_token(f"Bearer {header}")
    except OAuthError:
        return
    assert token and token.isascii() and " " not in token


def test_a_challenge_names_error_scope_and_metadata() -> None:
    told = bearer.format_challenge(
        InsufficientScope("more is needed"), realm="https://api", resource_metadata="https://api/m", scope="a b"
    )

    assert told == (
        'Bearer realm="https://api", error="insufficient_scope", error_description="more is needed", '
        'scope="a b", resource_metadata="https://api/m"'
    )


def test_a_challenge_to_who_sent_nothing_names_no_error() -> None:
    told = bearer.format_challenge(MissingToken("x"), realm="r", resource_metadata="m")

    assert told == 'Bearer realm="r", resource_metadata="m"'


def test_a_problem_is_that_of_rfc_9457() -> None:
    assert json.loads(problem_body(401, "why", error="invalid_token")) == {
        "title": "Unauthorized",
        "status": 401,
        "detail": "why",
        "error": "invalid_token",
    }


def test_the_text_for_the_log_is_not_in_the_body() -> None:
    refusal = InvalidToken("for the client", log_detail="for the log")

    assert refusal.body() == {"error": "invalid_token", "error_description": "for the client"}
    assert "log" not in str(refusal)
