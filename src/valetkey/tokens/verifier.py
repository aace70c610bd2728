"""The verdict on an access token that a caller presents: known, ours, unexpired, unrevoked."""

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
    """Judges access tokens. A good one is remembered."""

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
        """The good token behind a value.

        :raises InvalidToken: where it is unknown, malformed, expired or revoked; ``detail`` says which.
        :raises StoreUnavailable: where the store cannot be read.
        """
        if value != value.strip(" "):
            raise InvalidToken("the access token is not known", log_detail="spaces around it")
        try:
            return self.verify_header(format_authorization_header(value), now)
        except InvalidRequest as cause:
            raise InvalidToken("the access token is not known", log_detail=cause.description) from cause

    def verify_header(self, authorization: str, now: float) -> AccessToken:
        """The good token in an Authorization header.

        :raises InvalidToken, InvalidRequest: where there is none (RFC 6750 §3.1); ``detail`` says why.
        :raises StoreUnavailable: where the store cannot be read.
        """
        feed = self._feed
        if not 0.0 <= now - feed.read_at <= REFRESH_INTERVAL_S:  # a call less, mostly
            feed.refresh(now)
        token = self._cache.recent.get(authorization) or self._find_or_verify(authorization, now)
        if token.expires_at <= now:
            raise InvalidToken("the access token has expired")
        if feed.has_revocations and feed.is_revoked(token):
            raise InvalidToken("the access token was revoked")
        return token

    def invalidate_cache(self) -> None:
        self._cache.invalidate()

    def _find_or_verify(self, authorization: str, now: float) -> AccessToken:
        value = parse_bearer_token(authorization) or ""
        shown = format_authorization_header(value)  # case and spaces are the sender's: one entry for each token
        known = self._cache.find(shown)
        if known is not None:
            return known
        if is_well_formed(value, PERSONAL_ACCESS_TOKEN):  # which remembers for itself: such a token outlives the feed
            return self._personal_token_verifier.verify_digest(sha256(value.encode()).digest(), now)
        generation = self._cache.generation
        token = self._verify_uncached(value, now)
        self._cache.add(shown, token, generation)
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
            raise InvalidToken("the access token is not known", log_detail="another issuer's")
        return token

    def _verify_jwt(self, value: str, now: float) -> Any:
        if len(value) > _MAX_LENGTH or value.count(".") != 2:
            raise InvalidToken("the access token is not known", log_detail="neither an opaque token nor a JWT")
        try:
            unverified = jws.extract_compact(value.encode("ascii"))
            header = unverified.headers()
            key = self._keys.find(str(header.get("kid")), now)
            if key is None or header.get("typ", "").lower() not in _JWT_TYPES or header.get("alg") != key.algorithm:
                raise InvalidToken("the access token is not known", log_detail="kid, typ or alg is not ours")
            signed = jws.deserialize_compact(value.encode("ascii"), key.key, registry=SIGNING_REGISTRY)
            return json.loads(signed.payload)
        except (JoseError, ValueError, AttributeError, TypeError, KeyError) as cause:
            raise InvalidToken("the access token is not known", log_detail=f"JWT: {type(cause).__name__}") from cause
