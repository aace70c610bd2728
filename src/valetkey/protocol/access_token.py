"""An access token that was judged good: what ``current_token`` is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

PERSONAL_TOKEN_CLIENT_ID = (
    "valetkey-personal-token"  # of personal access tokens; no client of this name can be registered
)


@dataclass(frozen=True, slots=True, eq=False)  # each is itself: a key that costs nothing to hash
class AccessToken:
    """The claims of an access token (RFC 9068 §2.2), read and judged.

    ``user_id`` is the resource owner's ``sub``; None for a machine's token, whose ``sub`` is a client id
    (RFC 9700 §4.15). Times are seconds since 1970.
    """

    issuer: str
    client_id: str
    user_id: str | None
    scopes: frozenset[str]
    audience: tuple[str, ...]
    issued_at: float
    expires_at: float
    jti: str
    grant_id: str | None
    auth_time: float | None
    acr: str | None
    claims: Mapping[str, Any]
    counted_as: str  # who is counted for limits: the app, unless several share its client_id


def parse_access_token(claims: Mapping[str, Any]) -> AccessToken:
    """The access token with these claims.

    :raises KeyError, TypeError, ValueError: where a claim is missing or of a wrong type.
    """
    audience = claims["aud"]
    grant_id = claims.get("grant_id")
    client_id = intern(str(claims["client_id"]))  # what many tokens share is kept once
    return AccessToken(
        issuer=str(claims["iss"]),
        client_id=client_id,
        user_id=str(claims["sub"]) if grant_id else None,
        scopes=_split_scope(str(claims.get("scope", ""))),
        audience=_normalize_audience(audience if isinstance(audience, str) else tuple(audience)),
        issued_at=float(claims["iat"]),
        expires_at=float(claims["exp"]),
        jti=str(claims["jti"]),
        grant_id=grant_id,
        auth_time=claims.get("auth_time"),
        acr=claims.get("acr"),
        claims=claims,
        counted_as=client_id,
    )


@lru_cache(maxsize=1024)
def _split_scope(scope: str) -> frozenset[str]:
    return frozenset(scope.split())


@lru_cache(maxsize=1024)
def _normalize_audience(audience: str | tuple[str, ...]) -> tuple[str, ...]:
    return (audience,) if isinstance(audience, str) else audience
