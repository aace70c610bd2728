"""Create, extend and revoke a grant and its refresh tokens.

Functions return SQL statements, not yet executed, so that the caller can write all of them in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.authorization_server import texts
from valetkey.protocol.errors import AccessDenied
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, grants, refresh_tokens
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.grants import Grant
from valetkey.storage.refresh_tokens import RefreshToken
from valetkey.storage.revocation_check import SeenRevocations

# A grant's expiry is extended at most this often, and is at most this much later than that of its newest token.
_MAX_EXPIRY_PRECISION_S = 86400


def new_grant(
    owner: Owner,
    client: Client,
    *,
    scope: str,
    resources: str,
    now: float,
    expires_at: float,
    sid: str | None = None,
    claims: str | None = None,
) -> Grant:
    """Return a new grant of an owner to a client, with the time and method of the owner's sign-in.

    The caller stores the grant.

    :param scope: the granted scopes, separated by spaces.
    :param resources: the granted resources, as a JSON list.
    :param expires_at: when the grant and all its tokens are expired, in seconds since 1970; issuing a refresh token
        extends it.
    :param sid: the id of the owner's session, or ``None`` if the end of the session does not affect the grant.
    :param claims: the claims that were requested individually (``claims`` parameter), as JSON; ``None`` if none were.
    """
    return Grant(
        grant_id=random_id(),
        client_id=client.client_id,
        owner=owner.sub,
        scope=scope,
        resources=resources,
        auth_time=owner.auth_time,
        acr=owner.acr,
        amr=" ".join(owner.amr) or None,
        created_at=now,
        expires_at=expires_at,
        sid=sid,
        claims=claims,
        auth_method=client.auth_method,
    )


def check_still_active(owner: str, client_id: str, runtime: Runtime, now: float) -> SeenRevocations:
    """Check right before a write that the owner and the client exist and are enabled.

    Return the revocations that were known before this check. The write must check that there are no others, and then
    misses none.

    :raises AccessDenied: if the owner or the client was removed or disabled since the request was checked.
    """
    feed_view = runtime.feed.get_view()
    if runtime.owners.find(owner) is None:
        raise AccessDenied(texts.ACCOUNT_UNUSABLE, log_detail="the owner was removed or disabled")
    if runtime.clients.find_cached(client_id, now) is None:
        raise AccessDenied(texts.APP_UNUSABLE, log_detail="the client was removed or disabled")
    return feed_view.seen_revocations(client_id, owner)


def revoke_grant_statements(
    grant: Grant, now: float, event: AuditEvent, address: str | None
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that revoke a grant and write the revocation to the audit log.

    One of them announces the revocation in the change feed, a table that every process polls.

    :param event: the audit event, which says why the grant is revoked.
    :param address: the caller's network address, for the audit log.
    """
    return (
        grants.revoke(grant.grant_id, now),
        change_feed.add("grant", grant.grant_id),
        audit_statement(
            event, now, client_id=grant.client_id, owner=grant.owner, grant_id=grant.grant_id, address=address
        ),
    )


@dataclass(slots=True)
class NewRefreshToken:
    """A new refresh token, its grant, and the SQL statements, not yet executed, that store both."""

    secret: Secret
    token: RefreshToken
    grant: Grant  # with the expiry that ``rows`` write
    rows: tuple[BoundStatement, ...]

    def remember(self, runtime: Runtime) -> Secret:
        """Cache the refresh token, so that its first use in this process needs no query, and return its value.

        Call this method after the statements in ``rows`` were executed.
        """
        runtime.recent_refresh_tokens.add(self.token.digest, (self.token, self.grant))
        return self.secret


def issue_refresh_token(
    grant: Grant, settings: Settings, now: float, *, parent: bytes | None = None
) -> NewRefreshToken:
    """Create a refresh token, and return it with the SQL statements that store it; the caller executes them.

    The grant is extended if it would expire before the token, or before the access token that is issued with it. It is
    extended by up to a day more, so that most refreshes need not write it.

    :param parent: the digest of the refresh token that this one replaces, or ``None`` for the first token of a grant.
    """
    lifetime = settings.refresh_token_lifetime
    secret, expires_at = generate_secret(REFRESH_TOKEN), now + lifetime
    token = RefreshToken(secret.digest(), grant.grant_id, parent, now, expires_at)
    insert = refresh_tokens.add(token)
    last_expires_at = max(expires_at, now + settings.access_token_lifetime)
    if grant.expires_at >= last_expires_at:
        return NewRefreshToken(secret, token, grant, (insert,))
    extended = replace(grant, expires_at=last_expires_at + min(lifetime, _MAX_EXPIRY_PRECISION_S))
    return NewRefreshToken(secret, token, extended, (insert, grants.extend(grant.grant_id, extended.expires_at)))
