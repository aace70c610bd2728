"""A grant and its family of refresh tokens: the grant, a new member, and the end of all, as rows to write."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import Event, audit
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import REFRESH_TOKEN, Secret, mint, random_id
from valetkey.runtime import Runtime
from valetkey.storage import grants, revocations
from valetkey.storage.engine.statement import Bound
from valetkey.storage.grants import Grant, RefreshToken

_PRECISION = 86400.0  # a grant's end only tells when to forget it: once a day is enough


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


def end_grant(runtime: Runtime, grant: Grant, now: float, event: Event, address: str | None) -> tuple[Bound, ...]:
    """Mark the grant, tell every process through the feed, and audit why."""
    return (
        grants.revoke(grant.grant_id, now),
        revocations.add("grant", grant.grant_id, now, runtime.revocation_ends),
        audit(event, now, client_id=grant.client_id, owner=grant.owner, grant_id=grant.grant_id, address=address),
    )


@dataclass(slots=True)
class Member:
    """A new refresh token, and its grant as it is when the rows are written."""

    secret: Secret
    token: RefreshToken
    grant: Grant
    rows: tuple[Bound, ...]

    def issued(self, runtime: Runtime) -> Secret:
        """What the client is told, now that the rows are written."""
        runtime.issued_refresh_tokens.add(self.token.digest, (self.token, self.grant))
        return self.secret


def new_member(grant: Grant, runtime: Runtime, now: float, *, parent: bytes | None = None) -> Member:
    """A new refresh token of the grant, which lives at least as long."""
    secret, until = mint(REFRESH_TOKEN), now + runtime.settings.refresh_token_lifetime
    token = RefreshToken(secret.digest(), grant.grant_id, parent, now, until)
    row = grants.ADD_REFRESH_TOKEN(token)
    if grant.expires_at >= until - _PRECISION:
        return Member(secret, token, grant, (row,))
    extended = replace(grant, expires_at=until)
    return Member(secret, token, extended, (row, grants.extend(grant.grant_id, until)))
