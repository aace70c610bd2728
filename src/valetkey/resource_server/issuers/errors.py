"""Errors for access tokens of trusted issuers: the token is invalid, or cannot be verified now."""

from __future__ import annotations

from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.unavailable import BackendUnavailable


class IssuerUnavailable(BackendUnavailable):
    """A token cannot be verified: its issuer's keys or response are not cached and cannot be fetched now."""

    retry_after = 5


def invalid_token(detail: str, description: str = "the access token is not accepted") -> InvalidToken:
    """Return the error for an invalid access token; the caller raises it.

    :param detail: the reason, for the log only.
    :param description: the ``error_description`` for the caller (RFC 6750 §3).
    """
    return InvalidToken(description, log_detail=detail)
