"""From the claims of a trusted issuer to an access token: is it one, is it for us, what may it do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import parse_scope

from .config import TrustedIssuer
from .errors import invalid_token

Claims = Mapping[str, Any]

_MAX_VALUES = 256
_ACCESS_TOKEN_TYPES = frozenset({"bearer", "at+jwt"})
# OpenID Connect Core §2 and §3.3.2.11 (ID tokens); RFC 8417 §2.2 (logout and security event tokens)
_OTHER_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash", "events")


def build_access_token(claims: Claims, issuer: TrustedIssuer, resource: str, now: float, leeway_s: int) -> AccessToken:
    """The access token with these claims, which are proved.

    :param resource: what we call ourselves; it is in the audience of the answer where the issuer means us.
    :raises InvalidToken: where it has expired, is no access token, or is for somebody else.
    """
    expires, made = _check_times(claims, now, leeway_s)
    _check_not_sender_constrained(claims)
    client_id = _read_client_id(claims, issuer)
    audience = _read_audience(claims, issuer, client_id, resource)
    auth_time, acr, jti = claims.get("auth_time"), claims.get("acr"), claims.get("jti")
    return AccessToken(
        issuer=issuer.issuer,
        client_id=client_id,
        user_id=_read_user_id(claims, issuer, client_id),
        scopes=_read_scopes(claims, issuer),
        audience=audience,
        issued_at=made,
        expires_at=expires,
        jti=jti if isinstance(jti, str) else "",
        grant_id=None,
        auth_time=float(auth_time) if _is_timestamp(auth_time) else None,
        acr=acr if isinstance(acr, str) else None,
        claims=claims,
        counted_as=f"{issuer.issuer}|{client_id}",
    )


def check_is_access_token(claims: Claims, issuer: TrustedIssuer) -> None:
    """Refuse other JWTs of the issuer's, where no ``at+jwt`` tells them apart (RFC 8725 §3.12).

    An ID token is for the app that asked for it. It gets here where that app and the API share a name.
    """
    kind, use = claims.get("typ"), claims.get("token_use")
    if (
        kind is not None and str(kind).lower() not in _ACCESS_TOKEN_TYPES
    ):  # Keycloak: Bearer, else ID, Refresh, Offline, Logout
        raise invalid_token("its typ claim is not that of access tokens")
    if use is not None and use != "access":  # Cognito
        raise invalid_token("its token_use is not access")
    strange = [name for name in _OTHER_TOKEN_CLAIMS if name in claims]
    if strange and kind is None and use is None:  # old Keycloaks repeat the nonce in access tokens, and say Bearer
        raise invalid_token(f"{', '.join(strange)}: that is no access token")
    told = (*issuer.shape.scope_claims, *(path.partition(".")[0] for path in issuer.role_claims))
    if not any(name in claims for name in told):
        raise invalid_token(f"it has none of {', '.join(told)}: it could be an ID token")


def _check_times(claims: Claims, now: float, leeway_s: int) -> tuple[float, float]:
    expires, begins, made = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not (_is_timestamp(expires) and _is_timestamp(begins) and _is_timestamp(made)):
        raise invalid_token("exp is missing, or a time is not a number")
    if float(expires) + leeway_s <= now:
        raise invalid_token("exp is past", "the access token has expired")
    if max(begins, made) > now + leeway_s:
        raise invalid_token("nbf or iat is to come", "the access token is not good yet")
    return float(expires), float(made)


def _check_not_sender_constrained(claims: Claims) -> None:
    """A token that is bound to a key is worth nothing without that key (RFC 8705 §3, RFC 9449 §6.1)."""
    if "cnf" in claims or str(claims.get("token_type", "Bearer")).lower() != "bearer":
        raise invalid_token("it is bound to a key, which came without a proof")


def _read_client_id(claims: Claims, issuer: TrustedIssuer) -> str:
    client_id = next((claims[name] for name in issuer.shape.client_claims if name in claims), None)
    if not isinstance(client_id, str) or not client_id:
        raise invalid_token(f"it has none of {', '.join(issuer.shape.client_claims)}")
    if issuer.clients and client_id not in issuer.clients:
        raise invalid_token("it was issued to an app that is not among the issuer's clients")
    return client_id


def _read_audience(claims: Claims, issuer: TrustedIssuer, client_id: str, resource: str) -> tuple[str, ...]:
    named = claims.get("aud")
    if named is None:
        if client_id in issuer.clients:  # the issuer names no audience: the publisher named the apps
            return (resource,)
        raise invalid_token("it has no aud, and the issuer's clients are not named")
    audience = _read_strings(named, "aud", split=False)
    return (*audience, resource) if set(audience) & set(issuer.audience) else audience


def _read_scopes(claims: Claims, issuer: TrustedIssuer) -> frozenset[str]:
    told = next((claims[name] for name in issuer.shape.scope_claims if name in claims), "")
    scopes = set(_read_strings(told, "scope", split=True))
    for path in issuer.role_claims:
        for role in _read_strings(_find_claim(claims, path), path, split=False):
            scopes |= _parse_scope_claim(issuer.roles.get(role, ""))
    return frozenset(scopes)


def _parse_scope_claim(text: str) -> frozenset[str]:
    try:
        return parse_scope(text)
    except InvalidScope as cause:
        raise invalid_token("it has a scope that is none") from cause


def _read_user_id(claims: Claims, issuer: TrustedIssuer, client_id: str) -> str | None:
    """The person behind the token; none where the app speaks for itself (RFC 9700 §4.15)."""
    if issuer.user_id is not None:
        try:
            user = issuer.user_id(claims)
        except (KeyError, TypeError, ValueError) as cause:  # a claim that the publisher's function needs
            raise invalid_token(f"user_id: {type(cause).__name__}") from cause
        return None if user is None else str(user)
    sub = claims.get("sub")
    if sub is None or sub == client_id or issuer.shape.is_machine(claims):
        return None
    if not isinstance(sub, str) or not sub:
        raise invalid_token("its sub is no text")
    return sub


def _read_strings(value: Any, name: str, *, split: bool) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split()) if split else (value,)
    if not isinstance(value, list) or len(value) > _MAX_VALUES or not all(isinstance(one, str) for one in value):
        raise invalid_token(f"its {name} is neither text nor a list of texts")
    return tuple(value)


def _find_claim(claims: Claims, path: str) -> Any:
    """What is at a path; a claim whose own name has dots in it comes first. Nothing there: no values."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name, []) if isinstance(found, Mapping) else []
    return found


def _is_timestamp(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11
