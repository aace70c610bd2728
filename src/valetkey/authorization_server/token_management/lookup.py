"""A token of any kind in hand: which one it is, whose, and whether it lives. For revocation and introspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.storage import grants
from valetkey.storage.grants import Grant


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token that lives, with the members that introspection tells (RFC 7662 §2.2).

    :param personal: a personal access token, which no client was given.
    """

    client_id: str
    owner: str | None
    grant_id: str | None
    jti: str | None
    audience: tuple[str, ...]
    members: Mapping[str, Any]
    is_personal: bool = False


def find_token(runtime: Runtime, value: str, now: float, *, include_used: bool = False) -> TokenInfo | None:
    """The living token behind a value; None for anything else, whatever ``token_type_hint`` said (RFC 7009 §2.1).

    :param or_used: also a refresh token that has given its successor: for a moment it may give the same again.
    """
    if is_well_formed(value, REFRESH_TOKEN):
        return _refresh_token_info(runtime, value, now, include_used)
    try:
        return _access_token_info(runtime.verifier.verify(value, now))
    except InvalidToken:
        return None


def _access_token_info(token: AccessToken) -> TokenInfo:
    told = ("iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "auth_time", "acr", "amr")
    members = {name: token.claims[name] for name in told if name in token.claims}
    return TokenInfo(
        token.client_id,
        token.user_id,
        token.grant_id,
        token.jti,
        token.audience,
        {"active": True, "token_type": "Bearer", **members},
        is_personal=token.client_id == PERSONAL_TOKEN_CLIENT_ID,
    )


def _refresh_token_info(runtime: Runtime, value: str, now: float, include_used: bool) -> TokenInfo | None:
    found = grants.find_refresh_token(runtime.store, Secret(value).digest())
    if found is None:
        return None
    token, grant = found
    if (token.used_at is not None and not include_used) or token.expires_at <= now or grant.revoked_at is not None:
        return None
    return TokenInfo(
        grant.client_id,
        grant.owner,
        grant.grant_id,
        None,
        grant.resource_list,
        _refresh_members(runtime, grant, token.expires_at),
    )


def _refresh_members(runtime: Runtime, grant: Grant, expires_at: float) -> Mapping[str, Any]:
    return {
        "active": True,
        "iss": runtime.settings.issuer,
        "sub": grant.owner,
        "client_id": grant.client_id,
        "scope": grant.scope,
        "exp": int(expires_at),
    }
