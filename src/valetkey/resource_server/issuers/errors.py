"""Errors of trusted issuers' tokens: the token is invalid, or cannot be verified now."""

from __future__ import annotations

from valetkey.protocol.errors import InvalidToken
from valetkey.storage.engine.transaction import StoreUnavailable


class IssuerUnavailable(StoreUnavailable):
    """What is needed to verify a token of this issuer cannot be fetched now, and is not cached."""

    retry_after = 5


def invalid_token(detail: str, description: str = "the access token is not accepted") -> InvalidToken:
    """Return the error for an invalid token.

    :param detail: the reason, for the log only.
    :param description: the ``error_description`` for the caller (RFC 6750 §3).
    """
    return InvalidToken(description, log_detail=detail)
