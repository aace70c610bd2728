"""Verifies the access tokens of trusted issuers, as ``AccessTokenVerifier`` does for Valetkey's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from valetkey.caches.two_generation import TwoGenerationCache
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import format_authorization_header, parse_bearer_token

from .claims import build_access_token, check_has_permissions, check_is_access_token, without_nulls
from .config import MAX_REMEMBER_S, TrustedIssuer
from .errors import invalid_token
from .introspection import Introspector
from .jwt import SignatureVerifier, decode_token, is_jwt
from .products import AT_JWT

_SIGNATURE_TTL_S = 300  # then a signature is verified again, since the issuer may have withdrawn the key
_INACTIVE_TTL_S = 10  # how long an inactive token is not introspected again


class _VerifiedToken(NamedTuple):
    token: AccessToken
    verified_at: float
    cached_until: float

    def is_usable(self, now: float) -> bool:
        """Return whether the token need not be verified again: neither is it old, nor was the clock set back since."""
        return self.verified_at <= now < self.cached_until


class TrustedIssuerTokenVerifier:
    """Verifies access tokens of several issuers. Caches valid tokens, and those that an issuer says are inactive.

    :param issuers: the trusted issuers by issuer identifier.
    :param resource: the resource identifier of this API.
    :param leeway_s: how many seconds the clocks of issuer and API may differ.
    """

    def __init__(
        self,
        issuers: Mapping[str, TrustedIssuer],
        signature_verifier: SignatureVerifier,
        introspector: Introspector,
        *,
        resource: str,
        leeway_s: int,
    ) -> None:
        self._issuers = issuers
        self._signature_verifier = signature_verifier
        self._introspector = introspector
        self._resource = resource
        self._leeway_s = leeway_s
        self._verified: TwoGenerationCache[_VerifiedToken] = TwoGenerationCache()
        # When each token was inactive. A separate cache: a flood of invalid tokens must not evict valid ones.
        self._inactive: TwoGenerationCache[float] = TwoGenerationCache()

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """Verify the access token in an Authorization header, and return it.

        :param authorization: the value of the header, such as ``Bearer <token>``.
        :param now: seconds since 1970.
        :raises InvalidToken: if the token is not valid (RFC 6750 §3.1); the error's ``log_detail`` says why.
        :raises InvalidRequest: if the header is malformed.
        :raises IssuerUnavailable: if the token cannot be verified now, since its issuer does not respond.
        """
        verified = self._verified.find(authorization)
        if verified is None or not verified.is_usable(now):
            verified = self._get_or_verify(parse_bearer_token(authorization) or "", now)
        return verified.token

    def _get_or_verify(self, value: str, now: float) -> _VerifiedToken:
        issuer = self._find_opaque_token_issuer(value)
        digest = sha256(value.encode()).digest()
        # An opaque token may be valid for months, so the cache has only its digest (decision 37).
        cache_key = digest if issuer else format_authorization_header(value)
        verified = self._verified.find(cache_key)
        if verified is None or not verified.is_usable(now):
            verified = self._verify(value, digest, issuer, now)
            self._verified.add(cache_key, verified, self._verified.generation)
        return verified

    def _find_opaque_token_issuer(self, value: str) -> TrustedIssuer | None:
        """Return the issuer of an opaque token, or ``None`` if the token is a JWT.

        A token with the configured prefix is opaque, whatever it looks like: PASETOs and others have dots as JWTs do.

        :raises InvalidToken: if the token is neither a JWT nor one that an issuer introspects.
        """
        is_opaque = not is_jwt(value)
        for issuer in self._issuers.values():
            prefix = issuer.introspection.prefix if issuer.introspection else None
            if prefix is not None and value.startswith(prefix) and (prefix or is_opaque):
                return issuer
        if is_opaque:
            detail = "it is not a JWT, and no issuer has introspection for such a token"
            raise invalid_token(detail, "the access token is unknown")
        return None

    def _verify(self, value: str, digest: bytes, opaque_from: TrustedIssuer | None, now: float) -> _VerifiedToken:
        inactive_at = self._inactive.find(digest)
        if inactive_at is not None and inactive_at <= now < inactive_at + _INACTIVE_TTL_S:
            raise invalid_token("it is not active, according to its issuer (cached)", "the access token is unknown")
        if opaque_from:
            return self._verify_by_introspection(value, digest, opaque_from, now)
        header, claims = decode_token(value)
        claims = without_nulls(claims)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:  # checked before any request: a token must not choose where requests go
            detail = f"its iss is not a trusted issuer: {str(claims.get('iss'))[:100]!r}"
            raise invalid_token(detail, "the access token is unknown")
        # The claims are also checked before any request.
        token = build_access_token(claims, issuer, self._resource, now, self._leeway_s)
        if str(header.get("typ", "")).lower().removeprefix("application/") != AT_JWT:
            check_is_access_token(claims)
            check_has_permissions(claims, issuer)
        self._signature_verifier.verify(value, header, issuer)
        if issuer.introspection and issuer.introspection.always:
            return self._verify_by_introspection(value, digest, issuer, now)
        return _VerifiedToken(token, now, min(token.expires_at + self._leeway_s, now + _SIGNATURE_TTL_S))

    def _verify_by_introspection(self, value: str, digest: bytes, issuer: TrustedIssuer, now: float) -> _VerifiedToken:
        assert issuer.introspection is not None
        members = self._introspector.introspect(value, digest, issuer)
        if members is None:
            self._inactive.add(digest, now, self._inactive.generation)
            raise invalid_token("it is not active, according to its issuer", "the access token is unknown")
        token = self._read_introspection_response(without_nulls(members), issuer, now)
        cached_until = min(token.expires_at + self._leeway_s, now + issuer.introspection.remember)
        return _VerifiedToken(token, now, cached_until)

    def _read_introspection_response(
        self, members: Mapping[str, Any], issuer: TrustedIssuer, now: float
    ) -> AccessToken:
        """Build the access token from an introspection response, which may lack ``exp`` and ``iss`` (RFC 7662 §2.2).

        A token whose response has no ``exp`` is used for a minute at most, as no response is cached for longer.

        :param members: the members of the response; none is ``None``.
        :raises InvalidToken: if the response is not for a usable access token of this issuer.
        """
        if members.get("iss", issuer.issuer) != issuer.issuer:
            raise invalid_token("the introspection response names another issuer")
        check_is_access_token(members, is_introspected=True)
        with_expiry = {"exp": now + MAX_REMEMBER_S, **members}
        token = build_access_token(with_expiry, issuer, self._resource, now, self._leeway_s)
        return replace(token, claims=members)
