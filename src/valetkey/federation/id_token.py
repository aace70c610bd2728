"""Checks of a provider's ID token (OpenID Connect Core §3.1.3.7): signature and claims, by joserfc and Authlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.outbound.issuer_keys import find_issuer_key
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.tokens.jws import AlgorithmRegistry, decode_unverified

from . import texts
from .endpoints import ProviderEndpoints
from .errors import ProviderRefused

_MAX_LENGTH, _MAX_KID_LENGTH = 16_384, 256

Claims = Mapping[str, Any]


class _ProviderRegistry(AlgorithmRegistry):
    max_header_length = 4096


def verify_id_token(
    value: object,
    nonce: str,
    access_token: str | None,
    provider: SignInProvider,
    endpoints: ProviderEndpoints,
    runtime: Runtime,
    now: float,
) -> Claims:
    """Verify an ID token from a provider's token endpoint, and return its claims.

    :param value: the ID token.
    :param nonce: the ``nonce`` of the authorization request.
    :param access_token: the access token of the same response, for the claim ``at_hash``.
    :raises ProviderRefused: if the ID token is not for this sign-in, or is not signed by the provider.
    :raises FetchError: if the provider's keys cannot be fetched.
    """
    from authlib.oidc.core import CodeIDToken  # imported here: many apps have no provider

    header, claims = verify_signature(value, provider, endpoints, runtime)
    options = {
        "iss": {"essential": True, "values": list(provider.token_issuers)},
        "aud": {"essential": True, "value": provider.client_id},
    }
    parameters = {"nonce": nonce, "client_id": provider.client_id, "access_token": access_token}
    hash_header = {**header, "alg": "EdDSA"} if header["alg"] == "Ed25519" else header  # its name before RFC 9864
    id_token = CodeIDToken(claims, hash_header, options, parameters)
    try:
        id_token.validate(now=now, leeway=runtime.settings.clock_leeway)
    except (JoseError, ValueError, TypeError, AttributeError) as cause:
        raise untrusted_response(provider, f"the ID token: {cause}") from cause
    return claims


def verify_signature(
    value: object, provider: SignInProvider, endpoints: ProviderEndpoints, runtime: Runtime
) -> tuple[Claims, Claims]:
    """Verify the signature of a provider's JWT with the keys that it publishes; return the header and the claims.

    A key that is not in the cached key set is looked for in a new one, and at the URL in new metadata: the provider may
    have rotated or moved its keys.

    :raises ProviderRefused: if the value is no JWT, has an algorithm that is not the provider's, a wrong signature, or
        an ``aud`` of another type.
    :raises FetchError: if the keys cannot be fetched.
    """
    if not isinstance(value, str):
        raise untrusted_response(provider, "there is no ID token")
    registry = _ProviderRegistry(algorithms=list(endpoints.algorithms), strict_check_header=False)
    try:
        header, claims = decode_unverified(value, max_length=_MAX_LENGTH, registry=registry)
    except ValueError as cause:
        raise untrusted_response(provider, f"the ID token: {cause}") from cause
    alg, kid = header.get("alg"), header.get("kid")
    if alg not in endpoints.algorithms or "crit" in header:
        raise untrusted_response(provider, "the alg or crit of the ID token is not one that is accepted")
    audience = claims.get("aud")  # RFC 7519 §4.1.3; not every version of the JWT libraries checks its type
    if not isinstance(audience, str) and not (
        isinstance(audience, list) and all(isinstance(of, str) for of in audience)
    ):
        raise untrusted_response(provider, "the aud of the ID token is not a string or a list of strings")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID_LENGTH):
        raise untrusted_response(provider, "the kid of the ID token is not a short text")
    if endpoints.jwks_uri is None:
        raise untrusted_response(provider, "the provider signs no JWTs")
    if provider.has_metadata:
        key = find_issuer_key(provider.issuer, kid, alg, runtime.provider_metadata, runtime.remote_keys)
    else:
        key = runtime.remote_keys.find(endpoints.jwks_uri, kid, alg)
    if key is None:
        raise untrusted_response(provider, "no key of the provider has the kid and alg of the ID token")
    try:
        jws.deserialize_compact(value.encode(), key, registry=registry)
    except (JoseError, ValueError, TypeError) as cause:
        raise untrusted_response(provider, "the signature of the ID token is wrong") from cause
    return header, claims


def untrusted_response(provider: SignInProvider, log_detail: str) -> ProviderRefused:
    """Return the exception for a response of a provider that cannot be trusted."""
    return ProviderRefused(texts.UNTRUSTED_RESPONSE.format(provider=provider.name), log_detail=log_detail)
