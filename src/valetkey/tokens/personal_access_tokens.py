"""Verify personal access tokens, which users create for their own programs.

They are read from the database and cached for a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.settings import Settings
from valetkey.storage import personal_access_tokens
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.personal_access_tokens import PersonalToken

_MAX_ENTRIES = 10_000
# A personal access token may live for a year, an entry in the change feed for some minutes. So the row is read again
# while the feed still has everything that was revoked since the last read.
_TTL_S = 60.0


class PersonalAccessTokenVerifier:
    """Verifies personal access tokens, which users create for their own programs.

    :param is_active_owner: returns whether the resource owner with a ``sub`` exists and is enabled; called each time
        that a token is read from the database.
    """

    def __init__(self, settings: Settings, store: Store, is_active_owner: Callable[[str], bool]) -> None:
        self._settings = settings
        self._store = store
        self._is_active_owner = is_active_owner
        self._entries: dict[bytes, tuple[AccessToken, float]] = {}

    def verify_digest(self, digest: bytes, now: float) -> AccessToken:
        """Return the personal access token with this digest, as an ``AccessToken``.

        It may be up to a minute old: the caller must check with ``ChangeFeed.is_revoked`` whether it was revoked, and
        whether it has expired since.

        :param digest: SHA-256 digest of the token.
        :raises InvalidToken: if the token is unknown, expired or revoked, or its owner is deleted or disabled.
        :raises StoreUnavailable: if the database cannot be read; with the setting ``revocation_outage="accept"`` a
            token that was read before is returned instead.
        """
        entry = self._entries.get(digest)
        if entry is not None and 0 <= now - entry[1] < _TTL_S:
            return entry[0]
        try:
            token = self._load_token(digest, now)
        except StoreUnavailable:
            if entry is not None and self._settings.revocation_outage == "accept":
                return entry[0]
            raise
        except InvalidToken:
            self._entries.pop(digest, None)
            raise
        if len(self._entries) >= _MAX_ENTRIES:
            self._entries.clear()
        self._entries[digest] = (token, now)
        return token

    def _load_token(self, digest: bytes, now: float) -> AccessToken:
        row = personal_access_tokens.find_active(self._store, digest, now) if self._settings.tokens_path else None
        if row is None:
            raise InvalidToken("the access token is not known", log_detail="no active personal access token matches")
        if not self._is_active_owner(row.owner):
            raise InvalidToken("the access token was revoked", log_detail="the resource owner is gone or disabled")
        return self._make_access_token(row)

    def _make_access_token(self, row: PersonalToken) -> AccessToken:
        """Return the ``AccessToken`` for a stored personal access token.

        It has no ``auth_time`` and no ``acr``, so routes that require a recent or strong sign-in refuse it (RFC 9470).
        """
        scopes = parse_scope(row.scope) & self._settings.personal_scopes  # the operator may have removed some
        audience, issuer = row.resource_list, self._settings.issuer
        claims = {
            "iss": issuer,
            "sub": row.owner,
            "aud": audience[0] if len(audience) == 1 else list(audience),
            "client_id": PERSONAL_TOKEN_CLIENT_ID,
            "iat": int(row.created_at),
            "exp": int(row.expires_at),
            "jti": row.token_id,
            "scope": format_scope(scopes),
        }
        return AccessToken(
            issuer=issuer,
            client_id=PERSONAL_TOKEN_CLIENT_ID,
            user_id=row.owner,
            scopes=scopes,
            audience=audience,
            issued_at=row.created_at,
            expires_at=row.expires_at,
            jti=row.token_id,
            grant_id=row.grant_id,
            auth_time=None,
            acr=None,
            claims=claims,
            counted_as=f"{PERSONAL_TOKEN_CLIENT_ID}|{row.owner}",  # no client: count per owner
        )
