"""Why a token is not good, and why nobody can tell now."""

from __future__ import annotations

from valetkey.protocol.errors import InvalidToken
from valetkey.storage.engine.transaction import StoreUnavailable


class IssuerUnavailable(StoreUnavailable):
    """What is needed to judge a token of this issuer cannot be had now, and is not known from before."""

    retry_after = 5


def invalid_token(detail: str, description: str = "the access token is not accepted") -> InvalidToken:
    """The refusal of a token; the caller learns the description, the log the detail."""
    return InvalidToken(description, log_detail=detail)
