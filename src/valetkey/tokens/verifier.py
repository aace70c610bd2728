"""The verdict on an access token that a caller presents: known, ours, unexpired, unrevoked."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.caches.change_feed import FRESH, RevocationFeed
from valetkey.caches.two_generation import RememberedTokens
from valetkey.protocol.access_token import AccessToken, read_claims
from valetkey.protocol.bearer import header_of, read_token
from valetkey.protocol.errors import InvalidRequest, InvalidToken
from valetkey.protocol.secret import ACCESS_TOKEN, PERSONAL_ACCESS_TOKEN, is_well_formed
from valetkey.settings import Settings
from valetkey.storage import opaque_tokens
from valetkey.storage.engine.store import Store

from .jws import OURS
from .key_ring import KeyRing
from .personal_access_tokens import PersonalTokens

_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 §4
_LONGEST = 8192


class TokenJudge:
    """Judges access tokens. A good one is remembered."""

    def __init__(
        self, settings: Settings, store: Store, keys: KeyRing, feed: RevocationFeed, personal: PersonalTokens
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._feed = feed
        self._personal = personal
        self._remembered = RememberedTokens()

    def judge(self, value: str, now: float) -> AccessToken:
        """The good token behind a value.

        :raises InvalidToken: where it is unknown, malformed, expired or revoked; ``detail`` says which.
        :raises StoreUnavailable: where the store cannot be read.
        """
        if value != value.strip(" "):
            raise InvalidToken("the access token is not known", detail="spaces around it")
        try:
            return self.judge_header(header_of(value), now)
        except InvalidRequest as cause:
            raise InvalidToken("the access token is not known", detail=cause.description) from cause

    def judge_header(self, authorization: str, now: float) -> AccessToken:
        """The good token in an Authorization header.

        :raises InvalidToken, InvalidRequest: where there is none (RFC 6750 §3.1); ``detail`` says why.
        :raises StoreUnavailable: where the store cannot be read.
        """
        feed = self._feed
        if not 0.0 <= now - feed.read_at <= FRESH:  # a call less, mostly
            feed.refresh(now)
        token = self._remembered.recent.get(authorization) or self._find(authorization, now)
        if token.expires_at <= now:
            raise InvalidToken("the access token has expired")
        if feed.names_any and feed.is_revoked(token):
            raise InvalidToken("the access token was revoked")
        return token

    def forget(self) -> None:
        self._remembered.forget()

    def _find(self, authorization: str, now: float) -> AccessToken:
        value = read_token(authorization) or ""
        shown = header_of(value)  # case and spaces are the sender's: one entry for each token
        known = self._remembered.find(shown)
        if known is not None:
            return known
        if is_well_formed(value, PERSONAL_ACCESS_TOKEN):  # which remembers for itself: such a token outlives the feed
            return self._personal.read(sha256(value.encode()).digest(), now)
        generation = self._remembered.generation
        token = self._read(value, now)
        self._remembered.add(shown, token, generation)
        return token

    def _read(self, value: str, now: float) -> AccessToken:
        if is_well_formed(value, ACCESS_TOKEN):
            claims = opaque_tokens.find(self._store, sha256(value.encode()).digest())
            if claims is None:
                raise InvalidToken("the access token is not known", detail="no such opaque token")
        else:
            claims = self._verified_claims(value, now)
        try:
            token = read_claims(claims)
        except (KeyError, TypeError, ValueError) as cause:
            raise InvalidToken("the access token is not known", detail=f"claims: {cause!r}") from cause
        if token.issuer != self._settings.issuer:
            raise InvalidToken("the access token is not known", detail="another issuer's")
        return token

    def _verified_claims(self, value: str, now: float) -> Any:
        if len(value) > _LONGEST or value.count(".") != 2:
            raise InvalidToken("the access token is not known", detail="neither an opaque token nor a JWT")
        try:
            unverified = jws.extract_compact(value.encode("ascii"))
            header = unverified.headers()
            key = self._keys.find(str(header.get("kid")), now)
            if key is None or header.get("typ", "").lower() not in _TYPES or header.get("alg") != key.algorithm:
                raise InvalidToken("the access token is not known", detail="kid, typ or alg is not ours")
            signed = jws.deserialize_compact(value.encode("ascii"), key.key, registry=OURS)
            return json.loads(signed.payload)
        except (JoseError, ValueError, AttributeError, TypeError, KeyError) as cause:
            raise InvalidToken("the access token is not known", detail=f"JWT: {type(cause).__name__}") from cause
