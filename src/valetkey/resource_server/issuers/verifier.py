"""The verdict on the tokens of trusted issuers; what a ``TokenJudge`` is for our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from valetkey.caches.two_generation import TwoGenerationCache
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import format_authorization_header, parse_bearer_token

from .claims import build_access_token, check_is_access_token
from .config import TrustedIssuer
from .errors import invalid_token
from .introspection import Introspector
from .jwt import SignatureVerifier, decode_unverified
from .products import AT_JWT

_SIGNATURE_TTL_S = 300  # seconds until a signature is verified again: the issuer may have withdrawn the key
_INACTIVE_TTL_S = 10  # seconds for which an inactive token is not asked about again


class _VerifiedToken(NamedTuple):
    token: AccessToken
    cached_until: float


class TrustedIssuerTokenVerifier:
    """Judges access tokens of several issuers. A good one is remembered, and so is one that an issuer denied.

    :param resource: the resource identifier of this API.
    :param leeway: seconds by which clocks may differ.
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
        self._inactive: TwoGenerationCache[float] = (
            TwoGenerationCache()
        )  # apart: a flood of guesses must not push the good ones out

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """The good token in an Authorization header.

        :raises InvalidToken, InvalidRequest: where there is none (RFC 6750 §3.1); ``detail`` says why.
        :raises IssuerUnavailable: where its issuer is needed to tell, and does not answer.
        """
        good = self._verified.recent.get(authorization)
        if good is None or now >= good.cached_until:
            good = self._get_or_verify(parse_bearer_token(authorization) or "", now)
        return good.token

    def _get_or_verify(self, value: str, now: float) -> _VerifiedToken:
        digest = sha256(value.encode()).digest()
        # An opaque token may live for months, and is not kept in clear (decision 37).
        shown = format_authorization_header(value) if value.count(".") == 2 else digest
        good = self._verified.find(shown)
        if good is None or now >= good.cached_until:
            good = self._verify(value, digest, now)
            self._verified.add(shown, good, self._verified.generation)
        return good

    def _verify(self, value: str, digest: bytes, now: float) -> _VerifiedToken:
        denied_until = self._inactive.find(digest)
        if denied_until is not None and now < denied_until:
            raise invalid_token("the issuer said lately that it is not active", "the access token is not known")
        if value.count(".") != 2:
            return self._verify_by_introspection(value, digest, self._find_opaque_token_issuer(value), now)
        header, claims = decode_unverified(value)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:  # before anything is fetched: a token names no address that we would ask
            told = f"its iss is not trusted: {str(claims.get('iss'))[:100]!r}"
            raise invalid_token(told, "the access token is not known")
        token = build_access_token(
            claims, issuer, self._resource, now, self._leeway_s
        )  # also before anything is fetched
        if str(header.get("typ", "")).lower().removeprefix("application/") != AT_JWT:
            check_is_access_token(claims, issuer)
        self._signature_verifier.verify(value, header, issuer)
        if issuer.introspection and issuer.introspection.always:
            return self._verify_by_introspection(value, digest, issuer, now)
        return _VerifiedToken(token, min(token.expires_at + self._leeway_s, now + _SIGNATURE_TTL_S))

    def _find_opaque_token_issuer(self, value: str) -> TrustedIssuer:
        for issuer in self._issuers.values():
            if issuer.introspection and value.startswith(issuer.introspection.prefix):
                return issuer
        raise invalid_token("it is no JWT, and no issuer is asked about such a token", "the access token is not known")

    def _verify_by_introspection(self, value: str, digest: bytes, issuer: TrustedIssuer, now: float) -> _VerifiedToken:
        assert issuer.introspection is not None
        members = self._introspector.introspect(value, digest, issuer, now)
        if members is None:
            self._inactive.add(digest, now + _INACTIVE_TTL_S, self._inactive.generation)
            raise invalid_token("the issuer says that it is not active", "the access token is not known")
        until = now + issuer.introspection.remember
        token = self._read_introspection_response(members, issuer, until, now)
        return _VerifiedToken(token, min(token.expires_at + self._leeway_s, until))

    def _read_introspection_response(
        self, members: Mapping[str, Any], issuer: TrustedIssuer, cached_until: float, now: float
    ) -> AccessToken:
        """An introspection's answer need not have exp, nor name who answers (RFC 7662 §2.2)."""
        if members.get("iss", issuer.issuer) != issuer.issuer:
            raise invalid_token("the issuer says that it is another's")
        if str(members.get("typ", "Bearer")).lower() not in {"bearer", "at+jwt"}:
            raise invalid_token("its typ is not that of access tokens")
        token = build_access_token({"exp": cached_until, **members}, issuer, self._resource, now, self._leeway_s)
        return replace(token, claims=members)
