"""Client authentication by a signed assertion: ``private_key_jwt`` (RFC 7523 §2.2 and §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from valetkey.outbound.bounds import FetchProblem
from valetkey.outbound.jwk_set import find_key, read_jwk_set, same_algorithms
from valetkey.protocol.errors import InvalidClient
from valetkey.protocol.request_body import read_json_object
from valetkey.runtime import Runtime
from valetkey.storage import assertions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Write
from valetkey.tokens.jws import CLIENTS

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST, _LONGEST_ID = 8192, 256
_LATEST = 3600  # seconds from now: so long an assertion is remembered, and no longer one may live
_AHEAD = 30  # seconds by which a client's clock may be fast
_TYPES = ("jwt", "client-authentication+jwt")
_KEY_MEMBERS = frozenset({"jwk", "jku", "x5c", "x5u"})  # a key that came with the signature proves nothing


def client_named_by(assertion: str) -> str:
    """Whom an assertion speaks of; nothing about it is proved yet.

    :raises InvalidClient: where it is not a JWT with a subject.
    """
    subject = _read(assertion)[1].get("sub")
    if not isinstance(subject, str) or not subject or "\0" in subject:
        raise _refused("the assertion has no sub")
    return subject


def assertion_problem(assertion: str, client: Client, runtime: Runtime, now: float) -> str | None:
    """Why an assertion does not prove that this client calls; None where it does, and then it is used up."""
    header, claims = _read(assertion)
    problem = _header_problem(header, client) or _claims_problem(claims, client, runtime, now)
    if problem:
        return problem
    try:
        key = _find_key(header, client, runtime)
    except FetchProblem as cause:
        return str(cause)
    if key is None:
        return "no key of the client's verifies it"
    try:
        jws.deserialize_compact(assertion, key, registry=CLIENTS)
    except (JoseError, ValueError, TypeError):
        return "the signature is wrong"
    used = assertions.use(client.client_id, claims["jti"], float(claims["exp"]) + runtime.settings.clock_leeway)
    return None if runtime.write(Write(used)) else "the assertion was used before"


def _read(assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if len(assertion) > _LONGEST or not assertion.isascii() or assertion.count(".") != 2:
        raise _refused("the assertion is no JWT, or too long")
    try:
        token = jws.extract_compact(assertion.encode())
        header, claims = token.headers(), read_json_object(token.payload)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as cause:
        raise _refused("the assertion is no JWT") from cause
    return header, claims


def _header_problem(header: Mapping[str, Any], client: Client) -> str | None:
    wanted = client.metadata.get("token_endpoint_auth_signing_alg")
    allowed = same_algorithms(wanted) if wanted else client.policy.assertion_algorithms
    if header.get("alg") not in allowed:
        return "the algorithm is not allowed"
    if "crit" in header:  # RFC 7515 §4.1.11: none that we understand
        return "crit names what is not understood"
    if _KEY_MEMBERS & header.keys():
        return "the header brings a key of its own"
    if str(header.get("typ", "jwt")).lower() not in _TYPES:
        return "it is a JWT of another type"  # RFC 8725 §3.11
    return None


def _claims_problem(claims: Mapping[str, Any], client: Client, runtime: Runtime, now: float) -> str | None:
    if not claims.get("iss") == claims.get("sub") == client.client_id:
        return "iss and sub are not the client"
    if not _is_for_us(claims.get("aud"), client, runtime):
        return "aud is not this server"
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID or not jti.isprintable():
        return "it has no jti"
    leeway = runtime.settings.clock_leeway
    expires, begins, made = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not all(_is_time(moment) for moment in (expires, begins, made)):
        return "exp is missing, or a time is not a number"
    assert isinstance(expires, (int, float))
    if not now - leeway < expires <= now + _LATEST:
        return "it has expired, or lives longer than an hour"
    if max(begins, made) > now + _AHEAD:
        return "it is not good yet"
    return None if made > now - _LATEST else "it was made over an hour ago"


def _is_for_us(audience: Any, client: Client, runtime: Runtime) -> bool:
    """Every audience must be us: an assertion that another server may use too could be used by that server here."""
    settings = runtime.settings
    ours = {settings.issuer}
    if not client.policy.assertion_for_issuer_only:
        ours.add(f"{settings.issuer}{settings.oauth_path}/token")
    named = audience if isinstance(audience, list) else [audience]
    return bool(named) and all(isinstance(one, str) and one in ours for one in named)


def _find_key(header: Mapping[str, Any], client: Client, runtime: Runtime) -> Key | None:
    kid, alg = header.get("kid"), str(header["alg"])
    if kid is not None and not isinstance(kid, str):
        return None
    if "jwks" in client.metadata:
        return find_key(read_jwk_set(client.metadata["jwks"]), kid, alg)
    jwks_uri = client.metadata.get("jwks_uri")
    return runtime.remote_keys.find(str(jwks_uri), kid, alg) if jwks_uri else None


def _is_time(moment: Any) -> bool:
    return isinstance(moment, (int, float)) and not isinstance(moment, bool) and abs(moment) < 1e11


def _refused(detail: str) -> InvalidClient:
    return InvalidClient("client authentication failed", detail=detail)
