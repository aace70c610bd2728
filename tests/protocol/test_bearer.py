"""Bearer tokens in requests, challenges in responses (RFC 6750, RFC 9728), errors and problem details."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientScope, InvalidRequest, InvalidToken, OAuthError
from valetkey.protocol.refusal import build_refusal


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), ("", None), ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc")],
    ids=["no header", "empty header", "Bearer", "bearer", "BEARER with spaces around the token"],
)
def test_the_bearer_scheme_is_case_insensitive(header: str | None, token: str | None) -> None:
    assert bearer.parse_bearer_token(header) == token


@pytest.mark.parametrize(
    ("header", "error"),
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
    ids=[
        "no token",
        "empty token",
        "two tokens",
        "two headers joined by a comma",
        "too long",
        "not ASCII",
        "Basic scheme",
        "DPoP scheme",
        "no scheme",
    ],
)
def test_a_malformed_authorization_header_is_refused(header: str, error: type[OAuthError]) -> None:
    with pytest.raises(error):
        bearer.parse_bearer_token(header)


@given(st.text(max_size=100))
def test_any_header_is_parsed_or_refused(header: str) -> None:
    try:
        token = bearer.parse_bearer_token(f"Bearer {header}")
    except OAuthError:
        return
    assert token and token.isascii() and " " not in token


def test_a_challenge_has_error_scope_and_resource_metadata() -> None:
    challenge = bearer.format_challenge(
        InsufficientScope("more is needed"), realm="https://api", resource_metadata="https://api/m", scope="a b"
    )

    assert challenge == (
        'Bearer realm="https://api", error="insufficient_scope", error_description="more is needed", '
        'scope="a b", resource_metadata="https://api/m"'
    )


def test_a_challenge_to_a_request_without_a_token_has_no_error_code() -> None:
    challenge = bearer.format_challenge(MissingToken("x"), realm="r", resource_metadata="m")

    assert challenge == 'Bearer realm="r", resource_metadata="m"'


def test_problem_details_have_the_members_of_rfc_9457() -> None:
    refusal = build_refusal(InvalidToken("why"), "ref")

    assert json.loads(refusal.problem_body(error="invalid_token")) == {
        "title": "Unauthorized",
        "status": 401,
        "detail": "why",
        "reference": "ref",
        "error": "invalid_token",
    }


def test_log_details_are_not_sent_to_the_client() -> None:
    error = InvalidToken("for the client", log_detail="for the log")

    assert error.body() == {"error": "invalid_token", "error_description": "for the client"}
    assert "log" not in str(error)
