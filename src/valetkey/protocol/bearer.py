"""Bearer token usage (RFC 6750): the token in the request, the challenge in the response."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import InvalidRequest, InvalidToken, OAuthError

_MAX_TOKEN_LENGTH = 8192


class MissingToken(InvalidToken):
    """The request to a protected resource has no bearer token.

    The ``WWW-Authenticate`` header then has no error code (RFC 6750 §3.1). A JSON body has one, as every JSON refusal.
    """


def parse_bearer_token(authorization: str | None) -> str | None:
    """Return the bearer token of an Authorization header, or ``None`` if there is no header.

    :raises MissingToken: if the header has another scheme than Bearer.
    :raises InvalidRequest: if the header is malformed (RFC 6750 §3.1).
    :raises InvalidToken: if the token is too long or not ASCII.
    """
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken("a bearer token is required")
    token = token.strip(" ")
    if not token or " " in token:
        raise InvalidRequest("the Authorization header is malformed: send it as Authorization: Bearer TOKEN")
    if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
        raise InvalidToken("the access token is malformed")
    return token


def format_authorization_header(token: str) -> str:
    """Return the value of the Authorization header that sends a bearer token (RFC 6750 §2.1)."""
    return f"Bearer {token}"


def format_challenge(
    refusal: OAuthError, *, realm: str, resource_metadata: str = "", scope: str = "", **parameters: str
) -> str:
    """Return the value of the WWW-Authenticate header of an error response (RFC 6750 §3, RFC 9728 §5.1).

    :param refusal: the error to report; ``MissingToken`` adds no error code.
    :param realm: name of the protection space (RFC 9110 §11.5).
    :param resource_metadata: URL of the protected resource metadata; empty adds none.
    :param scope: the scopes that the resource requires, separated by spaces; empty adds none.
    :param parameters: further parameters of the header's challenge, such as ``max_age``.
    """
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
