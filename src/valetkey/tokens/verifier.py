"""Verify access tokens that clients send: they must be issued by this server, not expired and not revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.caches.change_feed import ChangeFeed
from valetkey.caches.feed_cache import changed_client
from valetkey.caches.two_generation import AccessTokenCache
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken, parse_access_token
from valetkey.protocol.bearer import format_authorization_header, parse_bearer_token
from valetkey.protocol.errors import InvalidRequest, InvalidToken
from valetkey.protocol.secret import ACCESS_TOKEN, PERSONAL_ACCESS_TOKEN, REFRESH_TOKEN, is_well_formed
from valetkey.settings import Settings
from valetkey.storage import opaque_tokens
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .jws import SIGNING_REGISTRY, decode_unverified
from .key_ring import KeyRing
from .personal_access_tokens import PersonalAccessTokenVerifier

_JWT_TYPES = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 §4
_MAX_LENGTH = 8192
_MAX_CREATORS = 20_000  # as many as the cache has entries


class AccessTokenVerifier:
    """Verifies access tokens: JWTs, opaque tokens and personal access tokens. Valid tokens are cached.

    :param has_active_owner: returns whether a token's resource owner exists and is enabled, at a time.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: KeyRing,
        feed: ChangeFeed,
        personal_token_verifier: PersonalAccessTokenVerifier,
        has_active_owner: Callable[[AccessToken, float], bool],
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._feed = feed
        self._personal_token_verifier = personal_token_verifier
        self._has_active_owner = has_active_owner
        self._cache = AccessTokenCache()
        # The client that created a personal access token, by its cache key: the token depends on its plan and scope.
        self._creators: dict[str, str] = {}
        feed.add_listener(self._on_change, self.invalidate_cache)

    def verify(self, value: str, now: float, *, check_owner: bool = True) -> AccessToken:
        """Verify the text of an access token (a JWT, an opaque or a personal access token), and return the token.

        :param now: seconds since 1970.
        :param check_owner: whether to reject a token of a user who no longer exists, as in calls of an API.
        :raises InvalidToken: if it is unknown, malformed, expired or revoked; the exception's text or ``log_detail``
            says which.
        :raises StoreUnavailable: if the store cannot be read.
        """
        if value != value.strip(" "):
            raise InvalidToken("the access token is unknown", log_detail="there are spaces around it")
        try:
            return self.verify_header(format_authorization_header(value), now, check_owner=check_owner)
        except InvalidRequest as cause:
            raise InvalidToken("the access token is unknown", log_detail=cause.description) from cause

    def verify_header(self, authorization: str, now: float, *, check_owner: bool = True) -> AccessToken:
        """Verify the access token in an Authorization header, and return it.

        :param authorization: the value of the header, such as ``Bearer <token>``.
        :param now: seconds since 1970.
        :param check_owner: whether to reject a token of a user who no longer exists.
        :raises InvalidRequest: if the header is malformed (RFC 6750 §3.1).
        :raises MissingToken: if the header has another scheme than Bearer.
        :raises InvalidToken: if the token is unknown, expired or revoked; the exception's text or ``log_detail`` says
            why.
        :raises StoreUnavailable: if the store cannot be read.
        """
        feed = self._feed
        feed.refresh()
        token = self._cache.find(authorization) or self._find_or_verify(authorization, now)
        if token.expires_at <= now:
            raise _make_refusal(token, "the access token has expired")
        if feed.has_revocations and feed.is_revoked(token):
            token = self._verify_again(token, authorization, now)
        is_checked = check_owner or token.client_id == PERSONAL_TOKEN_CLIENT_ID
        if token.user_id is not None and is_checked and not self._has_active_owner(token, now):
            raise _make_refusal(token, "the access token was revoked", "the resource owner was removed or disabled")
        return token

    def invalidate_cache(self) -> None:
        """Drop all cached tokens, because the signing keys have changed: tokens must be verified with the new ones."""
        self._creators = {}  # before the cache: what is being verified now is not cached without its creator
        self._cache.invalidate()

    def _find_or_verify(self, authorization: str, now: float) -> AccessToken:
        value = parse_bearer_token(authorization) or ""
        key = format_authorization_header(value)  # normalizes case and spaces, so that a token has one entry
        cached = self._cache.find(key)
        if cached is not None:
            return cached
        generation = self._cache.generation
        if is_well_formed(value, PERSONAL_ACCESS_TOKEN):
            digest = sha256(value.encode()).digest()
            token, creator = self._personal_token_verifier.verify_digest(digest, now)
            if creator is not None:
                if len(self._creators) >= _MAX_CREATORS:
                    self.invalidate_cache()
                self._creators[key] = creator
        else:
            token = self._verify_uncached(value, now)
        self._cache.add(key, token, generation)
        return token

    def _verify_again(self, revoked: AccessToken, authorization: str, now: float) -> AccessToken:
        """Return a token that an entry of the feed revokes, if it is valid after all.

        It is valid if its issuer had read a later entry, which this process reads now. A personal access token is also
        valid if its owner was disabled and is enabled now; it is read from the database again.

        :raises InvalidToken: if the token is revoked.
        """
        self._feed.catch_up(revoked)
        if not self._feed.is_revoked(revoked):
            return revoked
        if revoked.client_id == PERSONAL_TOKEN_CLIENT_ID:
            self._cache.discard(format_authorization_header(parse_bearer_token(authorization) or ""))
            token = self._find_or_verify(authorization, now)
            if not self._feed.is_revoked(token):
                return token
        raise _make_refusal(revoked, "the access token was revoked")

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind == "changed" and entry.subject == "keys":
            self.invalidate_cache()
        elif (client_id := changed_client(entry)) is not None:
            keys = [key for key, creator in self._creators.copy().items() if creator == client_id]
            for key in keys:
                self._creators.pop(key, None)
            self._cache.invalidate_keys(keys)

    def _verify_uncached(self, value: str, now: float) -> AccessToken:
        if is_well_formed(value, ACCESS_TOKEN):
            claims = opaque_tokens.find(self._store, sha256(value.encode()).digest())
            if claims is None:
                raise InvalidToken("the access token is unknown", log_detail="no such opaque token")
        elif value.startswith(f"vk_{REFRESH_TOKEN}_"):
            raise InvalidToken("the access token is unknown", log_detail="it is a refresh token")
        else:
            claims = self._verify_jwt(value, now)
        try:
            token = parse_access_token(claims)
        except (KeyError, TypeError, ValueError) as cause:
            raise InvalidToken("the access token is unknown", log_detail=f"claims: {cause!r}") from cause
        if token.issuer != self._settings.issuer:
            raise InvalidToken("the access token is unknown", log_detail="iss is another issuer")
        return token

    def _verify_jwt(self, value: str, now: float) -> Any:
        try:
            header, _ = decode_unverified(value)
            key, jwt_type = self._keys.find(str(header.get("kid")), now), str(header.get("typ", "")).lower()
            if key is None or jwt_type not in _JWT_TYPES or header.get("alg") != key.algorithm:
                raise InvalidToken("the access token is unknown", log_detail="no key matches kid, typ and alg")
            signed = jws.deserialize_compact(value.encode("ascii"), key.key, registry=SIGNING_REGISTRY)
            return json.loads(signed.payload)
        except (JoseError, ValueError, AttributeError, TypeError, KeyError) as cause:
            raise InvalidToken("the access token is unknown", log_detail=f"JWT: {type(cause).__name__}") from cause


def _make_refusal(token: AccessToken, description: str, log_detail: str | None = None) -> InvalidToken:
    """Return the exception for a token that was valid before; the log names its client and user."""
    refusal = InvalidToken(description, log_detail=log_detail)
    refusal.client_id, refusal.user = token.client_id, token.user_id
    return refusal
