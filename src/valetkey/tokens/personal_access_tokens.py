"""Verify personal access tokens, which users create for their own programs, by their rows in the database."""

from __future__ import annotations

from valetkey.caches.change_feed import ChangeFeed, FeedView
from valetkey.caches.clients import ClientCache
from valetkey.caches.plans import PlanCache
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.compound_key import join_key
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.settings import Settings
from valetkey.storage import grants, personal_access_tokens
from valetkey.storage.engine.store import Store
from valetkey.storage.personal_access_tokens import PersonalToken

from .grant_scope import current_scope


class PersonalAccessTokenVerifier:
    """Verifies personal access tokens, which users create for their own programs.

    :param plans: the plans of clients, which may not allow what a client has put into a token.
    """

    def __init__(
        self, settings: Settings, store: Store, feed: ChangeFeed, plans: PlanCache, clients: ClientCache
    ) -> None:
        self._settings = settings
        self._store = store
        self._feed = feed
        self._plans = plans
        self._clients = clients

    def verify_digest(self, digest: bytes, now: float) -> tuple[AccessToken, str | None]:
        """Return the personal access token with this digest, as an ``AccessToken``. It is read from the database.

        It contains the revocations that were known before it was read. So it may be cached like any access token:
        check with ``ChangeFeed.is_revoked`` whether it was revoked since, and that its owner is enabled. If a client
        created it, its ``client_id`` is returned, too: the token has no more scopes than the client's grant gives now,
        and must be read again when the client has changed.

        :param digest: SHA-256 digest of the token.
        :raises InvalidToken: if the token is unknown, expired or revoked.
        :raises StoreUnavailable: if the database cannot be read.
        """
        feed_view = self._feed.get_view()  # before the checks: a later revocation of the owner ends the cached token
        row = personal_access_tokens.find_active(self._store, digest, now) if self._settings.tokens_path else None
        if row is None:
            raise InvalidToken("the access token is unknown", log_detail="no active personal access token matches")
        scopes = parse_scope(row.scope) & self._settings.personal_scopes  # the operator may have removed some
        if row.grant_id is None:
            return self._make_access_token(row, scopes, feed_view), None
        grant = grants.find(self._store, row.grant_id)
        if grant is None or not parse_scope(row.scope) <= parse_scope(grant.scope):
            raise InvalidToken("the access token was revoked", log_detail="a scope of its grant was withdrawn")
        client = self._clients.find_cached(grant.client_id, now)
        scopes &= current_scope(grant, client, self._plans, self._settings, now)
        return self._make_access_token(row, scopes, feed_view), grant.client_id

    def _make_access_token(self, row: PersonalToken, scopes: frozenset[str], feed_view: FeedView) -> AccessToken:
        """Return the ``AccessToken`` for a stored personal access token.

        It has no ``auth_time`` and no ``acr``, so routes that require a recent or strong sign-in refuse it (RFC 9470).

        :raises InvalidToken: if all its scopes were removed: routes that require none might accept it.
        """
        if row.scope and not scopes:
            raise InvalidToken("the access token was revoked", log_detail="all its scopes were removed")
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
            counted_as=join_key(PERSONAL_TOKEN_CLIENT_ID, row.owner),  # no client: count per owner
            seen_revocations=feed_view.seen_revocations(PERSONAL_TOKEN_CLIENT_ID, row.owner),
        )
