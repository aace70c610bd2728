"""Client authentication by a signed assertion: ``private_key_jwt`` (RFC 7523 §2.2 and §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from valetkey.outbound.errors import FetchError
from valetkey.outbound.jwk_set import algorithm_names, find_key, parse_jwk_set
from valetkey.outbound.remote_keys import RemoteKeys
from valetkey.protocol.errors import InvalidClient
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import client_assertions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.jws import ASSERTION_REGISTRY, decode_unverified

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_JTI_LENGTH = 256  # characters
_MAX_LIFETIME_S = 3600  # from now; a used assertion is remembered until it expires, so the lifetime is limited
_MAX_CLOCK_SKEW_S = 30  # by which a client's clock may be fast
_JWT_TYPES = ("jwt", "client-authentication+jwt")
_EMBEDDED_KEY_MEMBERS = frozenset({"jwk", "jku", "x5c", "x5u"})  # a key sent with the signature proves nothing


def read_asserted_client_id(assertion: str) -> str:
    """Return the ``client_id`` that a client assertion claims as its subject. Nothing is verified yet.

    :raises InvalidClient: if the assertion is not a JWT with a subject.
    """
    subject = _parse_assertion(assertion)[1].get("sub")
    if not isinstance(subject, str) or not subject or "\0" in subject:
        raise _invalid_client("the assertion has no sub")
    return subject


def assertion_problem(assertion: str, client: Client, runtime: Runtime, now: float) -> str | None:
    """Return why a client assertion does not authenticate a client, or ``None`` if it does.

    A valid assertion is marked as used, and is not accepted again.

    :raises InvalidClient: if the assertion is not a JWT.
    """
    header, claims = _parse_assertion(assertion)
    problem = _header_problem(header, client) or _claims_problem(claims, client, runtime.settings, now)
    if problem:
        return problem
    try:
        key = _find_key(header, client, runtime.remote_keys)
    except FetchError as cause:
        return str(cause)
    if key is None:
        return "none of the client's keys has the kid and alg of the assertion"
    try:
        jws.deserialize_compact(assertion, key, registry=ASSERTION_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return "the signature of the assertion is wrong"
    used = client_assertions.mark_used(
        client.client_id, claims["jti"], float(claims["exp"]) + runtime.settings.clock_leeway
    )
    return None if runtime.store.write(Transaction(used, is_independent=True)) else "the assertion was used before"


def _parse_assertion(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        return decode_unverified(assertion)
    except ValueError as cause:
        raise _invalid_client(f"the assertion: {cause}") from cause


def _header_problem(header: Mapping[str, Any], client: Client) -> str | None:
    registered_algorithm = client.metadata.get("token_endpoint_auth_signing_alg")
    allowed = algorithm_names(registered_algorithm) if registered_algorithm else client.policy.assertion_algorithms
    if header.get("alg") not in allowed:
        return "alg is not allowed for this client"
    if "crit" in header:  # RFC 7515 §4.1.11: no extension is supported
        return "crit names an extension that is not supported"
    if _EMBEDDED_KEY_MEMBERS & header.keys():
        return "the header contains a key or a reference to one"
    if str(header.get("typ", "jwt")).lower() not in _JWT_TYPES:
        return "typ is not JWT or client-authentication+jwt"  # RFC 8725 §3.11
    return None


def _claims_problem(claims: Mapping[str, Any], client: Client, settings: Settings, now: float) -> str | None:
    if not claims.get("iss") == claims.get("sub") == client.client_id:
        return "iss and sub are not both the client_id"
    if not _is_audience_this_server(claims.get("aud"), client, settings):
        return "aud is not this server"
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH or not jti.isprintable():
        return "jti is missing, too long or not printable"
    leeway = settings.clock_leeway
    expires_at, not_before, issued_at = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not all(_is_timestamp(timestamp) for timestamp in (expires_at, not_before, issued_at)):
        return "exp is missing, or a time is not a number"
    assert isinstance(expires_at, (int, float))
    if not now - leeway < expires_at <= now + _MAX_LIFETIME_S + _MAX_CLOCK_SKEW_S:
        return "exp is in the past, or more than an hour ahead"
    if max(not_before, issued_at) > now + _MAX_CLOCK_SKEW_S:
        return "nbf or iat is in the future"
    return None if issued_at > now - _MAX_LIFETIME_S else "iat is more than an hour ago"


def _is_audience_this_server(audience: Any, client: Client, settings: Settings) -> bool:
    """Return whether this server is the assertion's only audience; any other audience could replay it here."""
    accepted = {settings.issuer}
    if not client.policy.assertion_audience_issuer_only:
        accepted.add(f"{settings.issuer}{settings.oauth_path}/token")
    audiences = audience if isinstance(audience, list) else [audience]
    return bool(audiences) and all(isinstance(name, str) and name in accepted for name in audiences)


def _find_key(header: Mapping[str, Any], client: Client, remote_keys: RemoteKeys) -> Key | None:
    kid, alg = header.get("kid"), str(header["alg"])
    if kid is not None and not isinstance(kid, str):
        return None
    if "jwks" in client.metadata:
        return find_key(parse_jwk_set(client.metadata["jwks"]), kid, alg)
    jwks_uri = client.metadata.get("jwks_uri")
    return remote_keys.find(str(jwks_uri), kid, alg) if jwks_uri else None


def _is_timestamp(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e11


def _invalid_client(detail: str) -> InvalidClient:
    return InvalidClient("client authentication failed", log_detail=detail)
