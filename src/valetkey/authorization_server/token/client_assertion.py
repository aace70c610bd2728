"""Client authentication by a signed assertion: ``private_key_jwt`` (RFC 7523 §2.2 and §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from valetkey.outbound.errors import FetchError
from valetkey.outbound.jwk_set import algorithm_names, find_key, parse_jwk_set
from valetkey.protocol.errors import InvalidClient
from valetkey.protocol.request_body import parse_json_object
from valetkey.runtime import Runtime
from valetkey.storage import client_assertions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.jws import ASSERTION_REGISTRY

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_LENGTH, _MAX_JTI_LENGTH = 8192, 256
_MAX_LIFETIME_S = 3600  # seconds from now: so long an assertion is remembered, and no longer one may live
_MAX_CLOCK_SKEW_S = 30  # seconds by which a client's clock may be fast
_JWT_TYPES = ("jwt", "client-authentication+jwt")
_EMBEDDED_KEY_MEMBERS = frozenset({"jwk", "jku", "x5c", "x5u"})  # a key that came with the signature proves nothing


def read_asserted_client_id(assertion: str) -> str:
    """Whom an assertion speaks of; nothing about it is proved yet.

    :raises InvalidClient: where it is not a JWT with a subject.
    """
    subject = _parse_assertion(assertion)[1].get("sub")
    if not isinstance(subject, str) or not subject or "\0" in subject:
        raise _invalid_client("the assertion has no sub")
    return subject


def assertion_problem(assertion: str, client: Client, runtime: Runtime, now: float) -> str | None:
    """Why an assertion does not prove that this client calls; None where it does, and then it is used up."""
    header, claims = _parse_assertion(assertion)
    problem = _header_problem(header, client) or _claims_problem(claims, client, runtime, now)
    if problem:
        return problem
    try:
        key = _find_key(header, client, runtime)
    except FetchError as cause:
        return str(cause)
    if key is None:
        return "no key of the client's verifies it"
    try:
        jws.deserialize_compact(assertion, key, registry=ASSERTION_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return "the signature is wrong"
    used = client_assertions.mark_used(
        client.client_id, claims["jti"], float(claims["exp"]) + runtime.settings.clock_leeway
    )
    return None if runtime.write(Transaction(used)) else "the assertion was used before"


def _parse_assertion(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if len(assertion) > _MAX_LENGTH or not assertion.isascii() or assertion.count(".") != 2:
        raise _invalid_client("the assertion is no JWT, or too long")
    try:
        token = jws.extract_compact(assertion.encode())
        header, claims = token.headers(), parse_json_object(token.payload)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as cause:
        raise _invalid_client("the assertion is no JWT") from cause
    return header, claims


def _header_problem(header: Mapping[str, Any], client: Client) -> str | None:
    wanted = client.metadata.get("token_endpoint_auth_signing_alg")
    allowed = algorithm_names(wanted) if wanted else client.policy.assertion_algorithms
    if header.get("alg") not in allowed:
        return "the algorithm is not allowed"
    if "crit" in header:  # RFC 7515 §4.1.11: none that we understand
        return "crit names what is not understood"
    if _EMBEDDED_KEY_MEMBERS & header.keys():
        return "the header brings a key of its own"
    if str(header.get("typ", "jwt")).lower() not in _JWT_TYPES:
        return "it is a JWT of another type"  # RFC 8725 §3.11
    return None


def _claims_problem(claims: Mapping[str, Any], client: Client, runtime: Runtime, now: float) -> str | None:
    if not claims.get("iss") == claims.get("sub") == client.client_id:
        return "iss and sub are not the client"
    if not _is_audience_this_server(claims.get("aud"), client, runtime):
        return "aud is not this server"
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH or not jti.isprintable():
        return "it has no jti"
    leeway = runtime.settings.clock_leeway
    expires, begins, made = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not all(_is_timestamp(moment) for moment in (expires, begins, made)):
        return "exp is missing, or a time is not a number"
    assert isinstance(expires, (int, float))
    if not now - leeway < expires <= now + _MAX_LIFETIME_S:
        return "it has expired, or lives longer than an hour"
    if max(begins, made) > now + _MAX_CLOCK_SKEW_S:
        return "it is not good yet"
    return None if made > now - _MAX_LIFETIME_S else "it was made over an hour ago"


def _is_audience_this_server(audience: Any, client: Client, runtime: Runtime) -> bool:
    """Every audience must be us: an assertion that another server may use too could be used by that server here."""
    settings = runtime.settings
    ours = {settings.issuer}
    if not client.policy.assertion_audience_issuer_only:
        ours.add(f"{settings.issuer}{settings.oauth_path}/token")
    named = audience if isinstance(audience, list) else [audience]
    return bool(named) and all(isinstance(one, str) and one in ours for one in named)


def _find_key(header: Mapping[str, Any], client: Client, runtime: Runtime) -> Key | None:
    kid, alg = header.get("kid"), str(header["alg"])
    if kid is not None and not isinstance(kid, str):
        return None
    if "jwks" in client.metadata:
        return find_key(parse_jwk_set(client.metadata["jwks"]), kid, alg)
    jwks_uri = client.metadata.get("jwks_uri")
    return runtime.remote_keys.find(str(jwks_uri), kid, alg) if jwks_uri else None


def _is_timestamp(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e11


def _invalid_client(detail: str) -> InvalidClient:
    return InvalidClient("client authentication failed", log_detail=detail)
