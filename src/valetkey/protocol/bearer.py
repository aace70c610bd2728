"""Bearer token usage (RFC 6750): the token in the request, the challenge in the answer."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import InvalidRequest, InvalidToken, OAuthError

_MAX_TOKEN_LENGTH = 8192


class MissingToken(InvalidToken):
    """No credentials came at all: the answer then names no error (§3.1), but says in words what is missing."""

    def body(self) -> dict[str, str]:
        return {"error_description": self.description}


def parse_bearer_token(authorization: str | None) -> str | None:
    """The bearer token in an Authorization header; None where there is no header.

    :raises MissingToken: where the header is of another scheme.
    :raises InvalidRequest: where it is malformed (§3.1).
    """
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken("a bearer token is required")
    token = token.strip(" ")
    if not token or " " in token:
        raise InvalidRequest("the Authorization header is malformed")
    if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
        raise InvalidToken("the access token is malformed")
    return token


def format_authorization_header(token: str) -> str:
    """The Authorization header that brings a token (§2.1)."""
    return f"Bearer {token}"


def format_challenge(
    refusal: OAuthError, *, realm: str, resource_metadata: str = "", scope: str = "", **parameters: str
) -> str:
    """A WWW-Authenticate value (RFC 6750 §3, RFC 9728 §5.1)."""
    parts: dict[str, str] = {"realm": realm}
    if not isinstance(refusal, MissingToken):
        parts |= {"error": refusal.error, "error_description": refusal.description}
    if scope:
        parts["scope"] = scope
    parts |= parameters
    if resource_metadata:
        parts["resource_metadata"] = resource_metadata
    return "Bearer " + _format_auth_params(parts)


def _format_auth_params(parameters: Mapping[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in parameters.items())
