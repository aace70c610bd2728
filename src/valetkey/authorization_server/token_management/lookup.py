"""Look up an access token, refresh token or personal access token for introspection, revocation and leak reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import refresh_tokens
from valetkey.storage.grants import Grant


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An active token, with the members that introspection returns (RFC 7662 §2.2).

    :param owner: the ``sub`` of the resource owner, or ``None`` if the token was issued to a client for itself.
    :param grant_id: the grant of the token, or ``None`` if it has none.
    :param jti: the id of an access token; ``None`` for a refresh token.
    :param expires_at: when the token expires, in seconds since 1970.
    :param members: the members of the introspection response.
    :param is_personal: whether it is a personal access token, which belongs to no client.
    """

    client_id: str
    owner: str | None
    grant_id: str | None
    jti: str | None
    audience: tuple[str, ...]
    expires_at: float
    members: Mapping[str, Any]
    is_personal: bool = False


def find_token(runtime: Runtime, value: str, now: float, *, include_used: bool = False) -> TokenInfo | None:
    """Return the active token with this value, or ``None`` if there is none.

    ``token_type_hint`` is not needed, because the value shows the type of the token (RFC 7009 §2.1).

    :param include_used: whether to find also a refresh token that was exchanged for its successor. A retry within
        ``refresh_retry_window`` seconds can still exchange it for the same successor.
    """
    if is_well_formed(value, REFRESH_TOKEN):
        return _refresh_token_info(runtime, value, now, include_used)
    try:
        return _access_token_info(runtime.verifier.verify(value, now, check_owner=False))
    except InvalidToken:
        return None


def _access_token_info(token: AccessToken) -> TokenInfo:
    exposed_claims = ("iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "auth_time", "acr", "amr")
    members = {name: token.claims[name] for name in exposed_claims if name in token.claims}
    return TokenInfo(
        token.client_id,
        token.user_id,
        token.grant_id,
        token.jti,
        token.audience,
        token.expires_at,
        {"active": True, "token_type": "Bearer", **members},
        is_personal=token.client_id == PERSONAL_TOKEN_CLIENT_ID,
    )


def _refresh_token_info(runtime: Runtime, value: str, now: float, include_used: bool) -> TokenInfo | None:
    token_and_grant = refresh_tokens.find(runtime.store, Secret(value).digest())
    if token_and_grant is None:
        return None
    token, grant = token_and_grant
    if (token.used_at is not None and not include_used) or token.expires_at <= now or grant.revoked_at is not None:
        return None
    return TokenInfo(
        grant.client_id,
        grant.owner,
        grant.grant_id,
        None,
        grant.resource_list,
        token.expires_at,
        _refresh_members(runtime.settings, grant, token.expires_at),
    )


def _refresh_members(settings: Settings, grant: Grant, expires_at: float) -> Mapping[str, Any]:
    return {
        "active": True,
        "iss": settings.issuer,
        "sub": grant.owner,
        "client_id": grant.client_id,
        "scope": grant.scope,
        "exp": int(expires_at),
    }
