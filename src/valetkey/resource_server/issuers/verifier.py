"""The verdict on the tokens of trusted issuers; what a ``TokenJudge`` is for our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from valetkey.caches.two_generation import TwoGenerationCache
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import header_of, read_token

from .claims import check_is_access_token, read_foreign
from .config import TrustedIssuer
from .errors import refused
from .introspection import Introspection
from .jwt import Signatures, read_unverified
from .products import AT_JWT

_VERIFIED = 300  # seconds until a signature is verified again: the issuer may have withdrawn the key
_REFUSED = 10  # seconds for which an inactive token is not asked about again


class _Good(NamedTuple):
    token: AccessToken
    until: float


class IssuersJudge:
    """Judges access tokens of several issuers. A good one is remembered, and so is one that an issuer denied.

    :param resource: the resource identifier of this API.
    :param leeway: seconds by which clocks may differ.
    """

    def __init__(
        self,
        issuers: Mapping[str, TrustedIssuer],
        signatures: Signatures,
        introspection: Introspection,
        *,
        resource: str,
        leeway: int,
    ) -> None:
        self._issuers = issuers
        self._signatures = signatures
        self._introspection = introspection
        self._resource = resource
        self._leeway = leeway
        self._good: TwoGenerationCache[_Good] = TwoGenerationCache()
        self._denied: TwoGenerationCache[float] = (
            TwoGenerationCache()
        )  # apart: a flood of guesses must not push the good ones out

    def judge_header(self, authorization: str, now: float) -> AccessToken:
        """The good token in an Authorization header.

        :raises InvalidToken, InvalidRequest: where there is none (RFC 6750 §3.1); ``detail`` says why.
        :raises IssuerUnavailable: where its issuer is needed to tell, and does not answer.
        """
        good = self._good.recent.get(authorization)
        if good is None or now >= good.until:
            good = self._find(read_token(authorization) or "", now)
        return good.token

    def _find(self, value: str, now: float) -> _Good:
        digest = sha256(value.encode()).digest()
        # An opaque token may live for months, and is not kept in clear (decision 37).
        shown = header_of(value) if value.count(".") == 2 else digest
        good = self._good.find(shown)
        if good is None or now >= good.until:
            good = self._read(value, digest, now)
            self._good.add(shown, good, self._good.generation)
        return good

    def _read(self, value: str, digest: bytes, now: float) -> _Good:
        denied_until = self._denied.find(digest)
        if denied_until is not None and now < denied_until:
            raise refused("the issuer said lately that it is not active", "the access token is not known")
        if value.count(".") != 2:
            return self._asked(value, digest, self._issuer_of_opaque(value), now)
        header, claims = read_unverified(value)
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:  # before anything is fetched: a token names no address that we would ask
            told = f"its iss is not trusted: {str(claims.get('iss'))[:100]!r}"
            raise refused(told, "the access token is not known")
        token = read_foreign(claims, issuer, self._resource, now, self._leeway)  # also before anything is fetched
        if str(header.get("typ", "")).lower().removeprefix("application/") != AT_JWT:
            check_is_access_token(claims, issuer)
        self._signatures.check(value, header, issuer)
        if issuer.introspection and issuer.introspection.always:
            return self._asked(value, digest, issuer, now)
        return _Good(token, min(token.expires_at + self._leeway, now + _VERIFIED))

    def _issuer_of_opaque(self, value: str) -> TrustedIssuer:
        for issuer in self._issuers.values():
            if issuer.introspection and value.startswith(issuer.introspection.prefix):
                return issuer
        raise refused("it is no JWT, and no issuer is asked about such a token", "the access token is not known")

    def _asked(self, value: str, digest: bytes, issuer: TrustedIssuer, now: float) -> _Good:
        assert issuer.introspection is not None
        members = self._introspection.ask(value, digest, issuer, now)
        if members is None:
            self._denied.add(digest, now + _REFUSED, self._denied.generation)
            raise refused("the issuer says that it is not active", "the access token is not known")
        until = now + issuer.introspection.remember
        token = self._read_members(members, issuer, until, now)
        return _Good(token, min(token.expires_at + self._leeway, until))

    def _read_members(self, members: Mapping[str, Any], issuer: TrustedIssuer, until: float, now: float) -> AccessToken:
        """An introspection's answer need not have exp, nor name who answers (RFC 7662 §2.2)."""
        if members.get("iss", issuer.issuer) != issuer.issuer:
            raise refused("the issuer says that it is another's")
        if str(members.get("typ", "Bearer")).lower() not in {"bearer", "at+jwt"}:
            raise refused("its typ is not that of access tokens")
        token = read_foreign({"exp": until, **members}, issuer, self._resource, now, self._leeway)
        return replace(token, claims=members)
