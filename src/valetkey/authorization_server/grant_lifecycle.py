"""A grant and its family of refresh tokens: the grant, a new member, and the end of all, as rows to write."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, grants
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.grants import Grant, RefreshToken

_EXPIRY_PRECISION_S = 86400.0  # a grant's end only tells when to forget it: once a day is enough


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
    """What an owner gives a client, with how and when the owner signed in.

    :param sid: the sign-in with which the grant may end; None where it outlives it.
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
    """Mark the grant, tell every process through the feed, and audit why."""
    return (
        grants.revoke(grant.grant_id, now),
        change_feed.add("grant", grant.grant_id, now, runtime.revocation_expiry),
        audit_statement(
            event, now, client_id=grant.client_id, owner=grant.owner, grant_id=grant.grant_id, address=address
        ),
    )


@dataclass(slots=True)
class NewRefreshToken:
    """A new refresh token, and its grant as it is when the rows are written."""

    secret: Secret
    token: RefreshToken
    grant: Grant
    rows: tuple[BoundStatement, ...]

    def remember(self, runtime: Runtime) -> Secret:
        """What the client is told, now that the rows are written."""
        runtime.recent_refresh_tokens.add(self.token.digest, (self.token, self.grant))
        return self.secret


def issue_refresh_token(grant: Grant, runtime: Runtime, now: float, *, parent: bytes | None = None) -> NewRefreshToken:
    """A new refresh token of the grant, which lives at least as long."""
    secret, until = generate_secret(REFRESH_TOKEN), now + runtime.settings.refresh_token_lifetime
    token = RefreshToken(secret.digest(), grant.grant_id, parent, now, until)
    row = grants.add_refresh_token(token)
    if grant.expires_at >= until - _EXPIRY_PRECISION_S:
        return NewRefreshToken(secret, token, grant, (row,))
    extended = replace(grant, expires_at=until)
    return NewRefreshToken(secret, token, extended, (row, grants.extend(grant.grant_id, until)))
