"""A grant and its family of refresh tokens: create, extend and revoke them, as statements for one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, grants, refresh_tokens
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.grants import Grant
from valetkey.storage.refresh_tokens import RefreshToken

_EXPIRY_PRECISION_S = 86400.0  # only pruning reads a grant's expiry, so extending it once a day is enough


def new_grant(
    owner: Owner,
    client_id: str,
    *,
    scope: str,
    resources: str,
    now: float,
    expires_at: float,
    sid: str | None = None,
    claims: str | None = None,
) -> Grant:
    """Return the grant that an owner gives a client, with the time and method of the owner's sign-in.

    The caller stores it.

    :param scope: the granted scopes, separated by spaces.
    :param resources: the granted resources, as a JSON list.
    :param expires_at: when the grant may be pruned, in seconds since 1970; issuing a refresh token extends it.
    :param sid: the session that the grant may end with, or None if the grant outlives the session.
    :param claims: the individually requested claims, as JSON, or None if there are none.
    """
    return Grant(
        grant_id=random_id(),
        client_id=client_id,
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
    )


def revoke_grant_statements(
    runtime: Runtime, grant: Grant, now: float, event: AuditEvent, address: str | None
) -> tuple[BoundStatement, ...]:
    """Return the statements that revoke a grant, announce it to every process through the change feed, and audit it.

    :param event: the audit event, which says why the grant is revoked.
    :param address: the caller's network address, for the audit log.
    """
    return (
        grants.revoke(grant.grant_id, now),
        change_feed.add("grant", grant.grant_id, now, runtime.revocation_expiry),
        audit_statement(
            event, now, client_id=grant.client_id, owner=grant.owner, grant_id=grant.grant_id, address=address
        ),
    )


@dataclass(slots=True)
class NewRefreshToken:
    """A new refresh token with its grant, and the statements that store them."""

    secret: Secret
    token: RefreshToken
    grant: Grant  # with the expiry that ``rows`` write
    rows: tuple[BoundStatement, ...]

    def remember(self, runtime: Runtime) -> Secret:
        """Cache the token for its first use in this process, and return the secret for the client.

        Call it after ``rows`` were written.
        """
        runtime.recent_refresh_tokens.add(self.token.digest, (self.token, self.grant))
        return self.secret


def issue_refresh_token(grant: Grant, runtime: Runtime, now: float, *, parent: bytes | None = None) -> NewRefreshToken:
    """Create a refresh token, and extend its grant if the grant would expire more than a day before the token.

    :param parent: the digest of the refresh token that this one replaces, or None for the first token of a grant.
    """
    secret, expires_at = generate_secret(REFRESH_TOKEN), now + runtime.settings.refresh_token_lifetime
    token = RefreshToken(secret.digest(), grant.grant_id, parent, now, expires_at)
    insert = refresh_tokens.add(token)
    if grant.expires_at >= expires_at - _EXPIRY_PRECISION_S:
        return NewRefreshToken(secret, token, grant, (insert,))
    extended = replace(grant, expires_at=expires_at)
    return NewRefreshToken(secret, token, extended, (insert, grants.extend(grant.grant_id, expires_at)))
