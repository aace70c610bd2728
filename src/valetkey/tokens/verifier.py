"""Verify access tokens that clients send: they must be issued by this server, not expired and not revoked."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.caches.change_feed import REFRESH_INTERVAL_S, ChangeFeed
from valetkey.caches.two_generation import AccessTokenCache
from valetkey.protocol.access_token import AccessToken, parse_access_token
from valetkey.protocol.bearer import format_authorization_header, parse_bearer_token
from valetkey.protocol.errors import InvalidRequest, InvalidToken
from valetkey.protocol.secret import ACCESS_TOKEN, PERSONAL_ACCESS_TOKEN, is_well_formed
from valetkey.settings import Settings
from valetkey.storage import opaque_tokens
from valetkey.storage.engine.store import Store

from .jws import SIGNING_REGISTRY
from .key_ring import KeyRing
from .personal_access_tokens import PersonalAccessTokenVerifier

_JWT_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 §4
_MAX_LENGTH = 8192


class AccessTokenVerifier:
    """Verifies access tokens: JWTs, opaque tokens and personal access tokens. Valid tokens are cached."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: KeyRing,
        feed: ChangeFeed,
        personal_token_verifier: PersonalAccessTokenVerifier,
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._feed = feed
        self._personal_token_verifier = personal_token_verifier
        self._cache = AccessTokenCache()

    def verify(self, value: str, now: float) -> AccessToken:
        """Verify the text of an access token (a JWT, an opaque or a personal access token), and return the token.

        :param now: seconds since 1970.
        :raises InvalidToken: if it is unknown, malformed, expired or revoked; the exception's text or ``log_detail``
            says which.
        :raises StoreUnavailable: if the store cannot be read.
        """
        if value != value.strip(" "):
            raise InvalidToken("the access token is not known", log_detail="there are spaces around it")
        try:
            return self.verify_header(format_authorization_header(value), now)
        except InvalidRequest as cause:
            raise InvalidToken("the access token is not known", log_detail=cause.description) from cause

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """Verify the access token in an Authorization header, and return it.

        :param authorization: the value of the header, such as ``Bearer <token>``.
        :param now: seconds since 1970.
        :raises InvalidRequest: if the header is malformed (RFC 6750 §3.1).
        :raises MissingToken: if the header has another scheme than Bearer.
        :raises InvalidToken: if the token is unknown, expired or revoked; the exception's text or ``log_detail`` says
            why.
        :raises StoreUnavailable: if the store cannot be read.
        """
        feed = self._feed
        if not 0.0 <= now - feed.read_at <= REFRESH_INTERVAL_S:  # saves most calls of refresh()
            feed.refresh(now)
        token = self._cache.recent.get(authorization) or self._find_or_verify(authorization, now)
        if token.expires_at <= now:
            raise InvalidToken("the access token has expired")
        if feed.has_revocations and feed.is_revoked(token):
            raise InvalidToken("the access token was revoked")
        return token

    def invalidate_cache(self) -> None:
        """Drop all cached tokens, because the signing keys have changed: tokens must be verified with the new ones."""
        self._cache.invalidate()

    def _find_or_verify(self, authorization: str, now: float) -> AccessToken:
        value = parse_bearer_token(authorization) or ""
        key = format_authorization_header(value)  # normalizes case and spaces, so that a token has one entry
        cached = self._cache.find(key)
        if cached is not None:
            return cached
        if is_well_formed(value, PERSONAL_ACCESS_TOKEN):  # has its own cache: such a token outlives entries of the feed
            return self._personal_token_verifier.verify_digest(sha256(value.encode()).digest(), now)
        generation = self._cache.generation
        token = self._verify_uncached(value, now)
        self._cache.add(key, token, generation)
        return token

    def _verify_uncached(self, value: str, now: float) -> AccessToken:
        if is_well_formed(value, ACCESS_TOKEN):
            claims = opaque_tokens.find(self._store, sha256(value.encode()).digest())
            if claims is None:
                raise InvalidToken("the access token is not known", log_detail="no such opaque token")
        else:
            claims = self._verify_jwt(value, now)
        try:
            token = parse_access_token(claims)
        except (KeyError, TypeError, ValueError) as cause:
            raise InvalidToken("the access token is not known", log_detail=f"claims: {cause!r}") from cause
        if token.issuer != self._settings.issuer:
            raise InvalidToken("the access token is not known", log_detail="iss is another issuer")
        return token

    def _verify_jwt(self, value: str, now: float) -> Any:
        if len(value) > _MAX_LENGTH or value.count(".") != 2:
            raise InvalidToken("the access token is not known", log_detail="no opaque token and no JWT, or too long")
        try:
            unverified = jws.extract_compact(value.encode("ascii"))
            header = unverified.headers()
            key = self._keys.find(str(header.get("kid")), now)
            if key is None or header.get("typ", "").lower() not in _JWT_TYPES or header.get("alg") != key.algorithm:
                raise InvalidToken("the access token is not known", log_detail="no key matches kid, typ and alg")
            signed = jws.deserialize_compact(value.encode("ascii"), key.key, registry=SIGNING_REGISTRY)
            return json.loads(signed.payload)
        except (JoseError, ValueError, AttributeError, TypeError, KeyError) as cause:
            raise InvalidToken("the access token is not known", log_detail=f"JWT: {type(cause).__name__}") from cause
