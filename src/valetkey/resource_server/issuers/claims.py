"""Checks the claims of a trusted issuer's token and builds an ``AccessToken`` from them. Does not verify signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.compound_key import join_key
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import parse_scope

from .config import TrustedIssuer
from .errors import invalid_token

Claims = Mapping[str, Any]

_MAX_VALUES = 256
# Values, in lower case, of the claims in which products say what kind of token it is.
_KINDS_OF_ACCESS_TOKENS = {
    "typ": frozenset({"bearer", "at+jwt"}),  # Keycloak; its other tokens: ID, Refresh, Offline, Logout
    "token_use": frozenset({"access", "access_token"}),  # Cognito, Ory Hydra
}
_TYPES_OF_ACCESS_TOKENS = frozenset({"bearer", "access", "access_token"})  # RFC 6749 §7.1; others: DPoP, refresh_token
# OpenID Connect Core §2 and §3.3.2.11 (ID tokens); RFC 8417 §2.2 (logout and security event tokens)
_OTHER_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash", "events")


def build_access_token(claims: Claims, issuer: TrustedIssuer, resource: str, now: float, leeway_s: int) -> AccessToken:
    """Check the claims of a trusted issuer's token, and return the access token that they describe.

    The caller must verify the signature before it uses the token.

    :param claims: the claims; none is ``None``.
    :param resource: this API's resource identifier. If the issuer has another name for the API
        (``TrustedIssuer.audience``) and the token is for that name, the identifier is added to the token's audience.
    :param now: seconds since 1970.
    :param leeway_s: how many seconds the clocks of issuer and API may differ.
    :raises InvalidToken: if the token is expired, not yet valid, bound to a key of the client, issued to a client
        that is not accepted, or lacks a claim. Whether the token is for this API is checked later, by its audience.
    """
    expires_at, issued_at = _check_times(claims, now, leeway_s)
    _check_is_bearer_token(claims)
    client_id = _read_client_id(claims, issuer)
    audience = _read_audience(claims, issuer, client_id, resource)
    auth_time, acr, jti = claims.get("auth_time"), claims.get("acr"), claims.get("jti")
    return AccessToken(
        issuer=issuer.issuer,
        client_id=client_id,
        user_id=_read_user_id(claims, issuer, client_id),
        scopes=_read_scopes(claims, issuer),
        audience=audience,
        issued_at=issued_at,
        expires_at=expires_at,
        jti=jti if isinstance(jti, str) else "",
        grant_id=None,
        auth_time=float(auth_time) if _is_timestamp(auth_time) else None,
        acr=acr if isinstance(acr, str) else None,
        claims=claims,
        counted_as=join_key(issuer.issuer, client_id),
    )


def check_is_access_token(claims: Claims, *, is_introspected: bool = False) -> None:
    """Check that a JWT, or the token that an introspection response is about, is no other token of the issuer.

    ID tokens and refresh tokens of the same issuer may pass all other checks (RFC 8725 §3.12). Not to be called for a
    JWT with ``typ: at+jwt`` in its header.

    :param claims: the claims of the JWT, or the members of the introspection response; none is ``None``.
    :param is_introspected: whether they are the members of an introspection response. One with a ``scope`` is about an
        access token (RFC 7662 §2.2); authentik puts the claims of the ID token into it, too.
    :raises InvalidToken: if it is not an access token.
    """
    for name, kinds in _KINDS_OF_ACCESS_TOKENS.items():
        if name in claims and str(claims[name]).lower() not in kinds:
            raise invalid_token(f"its {name} is not that of an access token")
    if is_introspected and claims.get("scope"):
        return
    other_claims = [name for name in _OTHER_TOKEN_CLAIMS if name in claims]
    # Keycloak before 24 has the nonce in access tokens too, but with typ Bearer.
    if other_claims and not any(name in claims for name in _KINDS_OF_ACCESS_TOKENS):
        raise invalid_token(f"it has {', '.join(other_claims)}, so it is not an access token")


def check_has_permissions(claims: Claims, issuer: TrustedIssuer) -> None:
    """Check that a JWT that does not say what it is has a claim with scopes or roles, as no ID token has.

    The audience of an ID token is the client that requested it. If that client and the API have the same name, an ID
    token would pass all other checks.

    :raises InvalidToken: if the JWT has no such claim.
    """
    names = (*issuer.shape.scope_claims, *(path.partition(".")[0] for path in issuer.role_claims))
    if not any(name in claims for name in names):
        raise invalid_token(f"it has none of {', '.join(names)}, so it could be an ID token")


def without_nulls(claims: Claims) -> Claims:
    """Return the claims whose value is not ``None``: a member that is null is as good as none."""
    return {name: value for name, value in claims.items() if value is not None}


def _check_times(claims: Claims, now: float, leeway_s: int) -> tuple[float, float]:
    expires_at, not_before, issued_at = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not (_is_timestamp(expires_at) and _is_timestamp(not_before) and _is_timestamp(issued_at)):
        raise invalid_token("exp is missing, or a time is not a number")
    if float(expires_at) + leeway_s <= now:
        raise invalid_token("exp is in the past", "the access token has expired")
    if max(not_before, issued_at) > now + leeway_s:
        raise invalid_token("nbf or iat is in the future", "the access token is not valid yet")
    return float(expires_at), float(issued_at)


def _check_is_bearer_token(claims: Claims) -> None:
    """Refuse a token that is bound to a key of the client, since proofs of possession are not supported.

    :raises InvalidToken: if the token is bound to a key (RFC 8705 §3, RFC 9449 §6.1), or its type is not that of an
        access token.
    """
    if "cnf" in claims:
        raise invalid_token("it is bound to a key (cnf), and proofs of keys are not supported")
    if str(claims.get("token_type", "Bearer")).lower() not in _TYPES_OF_ACCESS_TOKENS:
        raise invalid_token("its token_type is not Bearer")


def _read_client_id(claims: Claims, issuer: TrustedIssuer) -> str:
    client_id = next((claims[name] for name in issuer.shape.client_claims if name in claims), None)
    if not isinstance(client_id, str) or not client_id:
        raise invalid_token(f"it has none of {', '.join(issuer.shape.client_claims)}")
    if issuer.clients and client_id not in issuer.clients:
        raise invalid_token("it was issued to a client that is not in the issuer's clients")
    return client_id


def _read_audience(claims: Claims, issuer: TrustedIssuer, client_id: str, resource: str) -> tuple[str, ...]:
    aud = claims.get("aud")
    if aud is None:
        if client_id in issuer.clients:  # for issuers that name no audience, the publisher lists the clients
            return (resource,)
        raise invalid_token("it has no aud, and its client is not in the issuer's clients")
    audience = _read_strings(aud, "aud", split=False)
    return (*audience, resource) if set(audience) & set(issuer.audience) else audience


def _read_scopes(claims: Claims, issuer: TrustedIssuer) -> frozenset[str]:
    scope_claim = next((claims[name] for name in issuer.shape.scope_claims if name in claims), "")
    scopes = set(_read_strings(scope_claim, "scope", split=True))
    for path in issuer.role_claims:
        for role in _read_strings(_find_claim(claims, path), path, split=False):
            scopes |= _parse_scope_claim(issuer.roles.get(role, ""))
    return frozenset(scopes)


def _parse_scope_claim(text: str) -> frozenset[str]:
    try:
        return parse_scope(text)
    except InvalidScope as cause:
        raise invalid_token("one of its scopes is not a valid scope (RFC 6749 §3.3)") from cause


def _read_user_id(claims: Claims, issuer: TrustedIssuer, client_id: str) -> str | None:
    """Return the id of the token's user, or ``None`` if the client acts for itself (RFC 9700 §4.15)."""
    if issuer.user_id is not None:
        try:
            user = issuer.user_id(claims)
        except (LookupError, AttributeError, TypeError, ValueError) as cause:  # it cannot read these claims
            raise invalid_token(f"the user_id function of the issuer raised {type(cause).__name__}") from cause
        return str(user) if user else None
    sub = claims.get("sub")
    if sub is None or sub == client_id or issuer.shape.is_machine(claims):
        return None
    if not isinstance(sub, str) or not sub:
        raise invalid_token("its sub is not a string, or empty")
    return sub


def _read_strings(value: Any, name: str, *, split: bool) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split()) if split else (value,)
    if not isinstance(value, list) or len(value) > _MAX_VALUES or not all(isinstance(item, str) for item in value):
        raise invalid_token(f"its {name} is neither a string nor a list of at most {_MAX_VALUES} strings")
    return tuple(value)


def _find_claim(claims: Claims, path: str) -> Any:
    """Return the claim at a dotted path such as ``realm_access.roles``, or an empty list if there is none.

    A claim whose name is the whole path takes precedence.
    """
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name, []) if isinstance(value, Mapping) else []
    return value


def _is_timestamp(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11
