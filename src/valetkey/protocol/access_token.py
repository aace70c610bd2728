"""The claims of a verified access token: the type of ``current_token``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

# The ``client_id`` of personal access tokens. No client can be registered under it.
PERSONAL_TOKEN_CLIENT_ID = "valetkey-personal-token"
# A private claim (RFC 7519 §4.3), which only the issuing server reads.
SEEN_REVOCATIONS_CLAIM = "seen_revocations"


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: cheap as a dictionary key
class AccessToken:
    """The claims of a verified access token (RFC 9068 §2.2).

    ``current_token`` is an ``AccessToken`` in a view protected by ``@require_oauth``. All times are seconds since
    1970-01-01 UTC.

    :param issuer: URL of the authorization server that issued the token (claim ``iss``).
    :param client_id: the client that the token was issued to; ``valetkey-personal-token`` for a personal access token.
    :param user_id: the resource owner's ``sub``. ``None`` if the client acts for itself: its ``sub`` is then a client
        id (RFC 9700 §4.15).
    :param scopes: the scopes that the token grants.
    :param audience: the resources that the token is for (claim ``aud``).
    :param issued_at: time of issue (claim ``iat``).
    :param expires_at: time of expiry (claim ``exp``).
    :param jti: unique id of the token; empty if another issuer that the operator trusts sends none.
    :param grant_id: id of the resource owner's grant that the token belongs to; ``None`` for client credentials and for
        tokens of other issuers.
    :param auth_time: time of the resource owner's last authentication; ``None`` if unknown.
    :param acr: authentication context class of that authentication; ``None`` if unknown.
    :param claims: all claims of the token, as the issuer sent them.
    :param counted_as: name under which API calls are counted for plans, limits and quotas: the client id, unless
        several callers share that client id.
    :param seen_revocations: ids of the revocations of the client, of the owner and of all tokens that the issuing
        process had read before it checked the token request (claim ``seen_revocations``, for Valetkey's own use);
        ``None`` if the token has no such claim.
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
    counted_as: str
    seen_revocations: tuple[int, ...] | None = None


def parse_access_token(claims: Mapping[str, Any]) -> AccessToken:
    """Return the ``AccessToken`` for the claims of a token that Valetkey issued. The claims must be verified already.

    :raises KeyError, TypeError, ValueError: if a claim is missing or has the wrong type.
    """
    audience, seen = claims["aud"], claims.get(SEEN_REVOCATIONS_CLAIM)
    grant_id = claims.get("grant_id")
    client_id = intern(str(claims["client_id"]))  # one copy in memory for all tokens of a client
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
        seen_revocations=None if seen is None else tuple(seen),
    )


@lru_cache(maxsize=1024)
def _split_scope(scope: str) -> frozenset[str]:
    return frozenset(scope.split())


@lru_cache(maxsize=1024)
def _normalize_audience(audience: str | tuple[str, ...]) -> tuple[str, ...]:
    return (audience,) if isinstance(audience, str) else audience
