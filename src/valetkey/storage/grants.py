"""Grants (what a resource owner authorized a client to do), and their authorization codes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import (
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)

from .consents import IS_AS_READ as CONSENT_IS_AS_READ
from .consents import Consent
from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .revocation_check import NOTHING_SEEN, OWNER_AND_CLIENT_ARE_UNREVOKED, SeenRevocations, check_in_write
from .tables import accounts, codes, consents, grants, sessions


@dataclass(frozen=True, slots=True)
class Grant:
    """What a resource owner has authorized a client to do. Times are seconds since 1970.

    :param owner: ``sub`` of the resource owner.
    :param scope: scope names, separated by spaces.
    :param resources: JSON list of the resources (RFC 8707) that tokens of this grant may be for.
    :param auth_time: when the owner signed in; ``None`` if not known.
    :param acr: authentication context class of the sign-in (OpenID Connect Core §2); ``None`` if not known.
    :param amr: authentication methods of the sign-in (RFC 8176), separated by spaces.
    :param sid: session id of the sign-in (OpenID Connect logout); ``None`` if there was no such session.
    :param claims: individually requested claims (OpenID Connect Core §5.5) as JSON; ``None`` if there are none.
    :param auth_method: how the client authenticates at the token endpoint when the grant is made; ``None`` if unknown.
    """

    grant_id: str
    client_id: str
    owner: str
    scope: str
    resources: str
    auth_time: float | None
    acr: str | None
    amr: str | None
    created_at: float
    expires_at: float
    revoked_at: float | None = None
    sid: str | None = None
    claims: str | None = None
    auth_method: str | None = None

    @property
    def resource_list(self) -> tuple[str, ...]:
        return tuple(json.loads(self.resources))


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """An authorization code (RFC 6749 §4.1.2). Times are seconds since 1970."""

    digest: bytes
    grant_id: str
    client_id: str
    redirect_uri: str
    redirect_uri_sent: int  # 1 if the authorization request contained redirect_uri, else 0
    code_challenge: str | None
    nonce: str | None
    expires_at: float
    consumed_at: float | None = None


GRANT_COLUMNS = columns_of(grants, Grant)
_GRANT_COLUMN_NAMES = [column.name for column in GRANT_COLUMNS]
_CODE_COLUMNS = columns_of(codes, AuthorizationCode)


def unrevoked_grant(grant_id: object) -> Select[int]:
    """Return an SQL subquery that has one row if the grant exists and is not revoked, else none."""
    return select(literal(1, Integer)).where(grants.c.grant_id == grant_id, grants.c.revoked_at.is_(None))


# A condition for ``unrevoked_grant``: the grant has lost no scope and no claim since the caller has read it.
IS_AS_READ = and_(
    grants.c.scope == bindparam("scope_as_read"),
    func.coalesce(grants.c.claims, "") == bindparam("claims_as_read", type_=Text),
)


def values_as_read(grant: Grant) -> dict[str, str]:
    """Return the values of the parameters of ``IS_AS_READ``."""
    return {"scope_as_read": grant.scope, "claims_as_read": grant.claims or ""}


add = InsertStatement(grants, Grant)
_NEW_GRANT = select(*(cast(bindparam(column.name), column.type) for column in GRANT_COLUMNS))
_SESSION_OF_GRANT = select(literal(1, Integer)).where(
    sessions.c.sid == cast(bindparam("sid"), Text), sessions.c.sub == bindparam("owner")
)
# The sign-in session of the new grant has not ended, or there is none in this database: a host app's, or no session.
# The row is locked until the grant is committed: the end of the session waits, and then its statements see the grant.
_SESSION_HAS_NOT_ENDED = or_(
    not_(exists(_SESSION_OF_GRANT)),
    exists(_SESSION_OF_GRANT.where(sessions.c.ended_at.is_(None)).with_for_update(read=True)),
)
_ADD_UNLESS_REVOKED = Statement(
    insert(grants).from_select(
        _GRANT_COLUMN_NAMES, _NEW_GRANT.where(OWNER_AND_CLIENT_ARE_UNREVOKED, _SESSION_HAS_NOT_ENDED)
    )
)
# Locks the consent's row (on SQLite the whole database) until the grant is committed: a concurrent removal or change
# of the consent waits, and then revokes or narrows the new grant too.
_SELECT_IF_CONSENTED = _NEW_GRANT.where(CONSENT_IS_AS_READ, OWNER_AND_CLIENT_ARE_UNREVOKED)
_ADD_IF_CONSENTED = Statement(
    insert(grants).from_select(
        _GRANT_COLUMN_NAMES, _SELECT_IF_CONSENTED.where(_SESSION_HAS_NOT_ENDED).with_for_update(read=True, of=consents)
    )
)
_ADD_IF_CONSENTED_AND_SIGNED_IN = Statement(
    insert(grants).from_select(
        _GRANT_COLUMN_NAMES,
        _SELECT_IF_CONSENTED.where(
            exists(
                select(literal(1, Integer))
                .join_from(sessions, accounts, sessions.c.sub == accounts.c.sub)
                .where(
                    sessions.c.digest == bindparam("session"),
                    sessions.c.sub == bindparam("owner"),
                    sessions.c.ended_at.is_(None),
                    sessions.c.expires_at > bindparam("now"),
                    accounts.c.disabled_at.is_(None),
                )
                .with_for_update(read=True, of=sessions)
            ),
        ).with_for_update(read=True, of=consents),
    )
)
add_code = InsertStatement(codes, AuthorizationCode)
_FIND_GRANT = Statement(select(*GRANT_COLUMNS).where(grants.c.grant_id == bindparam("grant_id")))
_FIND_CODE = Statement(
    select(*_CODE_COLUMNS, *GRANT_COLUMNS)
    .join_from(codes, grants, codes.c.grant_id == grants.c.grant_id)
    .where(codes.c.digest == bindparam("digest"))
)
_CONSUME_UNUSED_CODE = (
    update(codes)
    .where(codes.c.digest == bindparam("wanted"), codes.c.consumed_at.is_(None))
    .values(consumed_at=bindparam("now"))
)
_CONSUME_CODE = Statement(_CONSUME_UNUSED_CODE.where(exists(unrevoked_grant(codes.c.grant_id))))
_CONSUME_CACHED_CODE = Statement(
    _CONSUME_UNUSED_CODE.where(exists(unrevoked_grant(codes.c.grant_id).where(IS_AS_READ)))
)
_EXTEND = Statement(
    update(grants).where(grants.c.grant_id == bindparam("wanted")).values(expires_at=bindparam("until"))
)
_REVOKE = Statement(
    update(grants)
    .where(grants.c.grant_id == bindparam("wanted"), grants.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
_SET_LAST_USED = Statement(
    update(grants).where(grants.c.grant_id == bindparam("wanted")).values(last_used_at=bindparam("at"))
)
UNREVOKED_OF_OWNER_AND_CLIENT = and_(
    grants.c.owner == bindparam("of_owner"),
    grants.c.client_id == bindparam("of_client"),
    grants.c.revoked_at.is_(None),
)
_REVOKE_ALL_OF_OWNER_AND_CLIENT = Statement(
    update(grants).where(UNREVOKED_OF_OWNER_AND_CLIENT).values(revoked_at=bindparam("now"))
)
_REVOKE_UNREVOKED = update(grants).where(grants.c.revoked_at.is_(None)).values(revoked_at=bindparam("now"))
_REVOKE_ALL_OF_OWNER = Statement(_REVOKE_UNREVOKED.where(grants.c.owner == bindparam("of_owner")))
_REVOKE_ALL_OF_CLIENT = Statement(_REVOKE_UNREVOKED.where(grants.c.client_id == bindparam("of_client")))


def find(store: Store, grant_id: str) -> Grant | None:
    """Return the grant with this id, also if it is revoked or expired; ``None`` if there is none."""
    row = store.fetch_one(_FIND_GRANT(grant_id=grant_id))
    return Grant(*row) if row else None


def find_code(store: Store, digest: bytes) -> tuple[AuthorizationCode, Grant] | None:
    """Return the authorization code with this digest and its grant; ``None`` if there is none.

    Used and expired codes are returned too.
    """
    row = store.fetch_one(_FIND_CODE(digest=digest))
    return (AuthorizationCode(*row[: len(_CODE_COLUMNS)]), Grant(*row[len(_CODE_COLUMNS) :])) if row else None


def add_unless_revoked(grant: Grant, seen: SeenRevocations) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds a grant.

    It adds none if owner or client were revoked meanwhile, or if the sign-in session of the grant has ended. A code of
    a grant that was not added is refused.

    :param seen: the revocations that were known before owner and client were checked.
    """
    return check_in_write(_ADD_UNLESS_REVOKED(**add(grant).values), seen, grant.owner, grant.client_id)


def add_if_consented(grant: Grant, consent: Consent, seen: SeenRevocations = NOTHING_SEEN) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a grant.

    It adds none if the owner's remembered consent to the client was withdrawn, or has changed, if owner or client were
    revoked meanwhile, or if the sign-in session of the grant has ended.

    :param consent: the consent as it was read; it must have an identity.
    :param seen: the revocations that were known before owner and client were checked.
    """
    addition = _ADD_IF_CONSENTED(**add(grant).values, consented=consent.scope, identity=consent.identity)
    return check_in_write(addition, seen, grant.owner, grant.client_id)


def add_if_consented_and_signed_in(
    grant: Grant, consent: Consent, session_digest: bytes, now: float, seen: SeenRevocations = NOTHING_SEEN
) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a grant of a signed-in owner.

    It checks again what may have changed since the authorization request was checked: it adds none unless the owner's
    remembered consent is unchanged, the owner's session is active, the account enabled, and neither owner nor client
    were revoked meanwhile.

    :param consent: the consent as it was read; it must have an identity.
    :param session_digest: digest of the owner's session cookie.
    :param seen: the revocations that were known before owner and client were checked.
    """
    addition = _ADD_IF_CONSENTED_AND_SIGNED_IN(
        **add(grant).values,
        consented=consent.scope,
        identity=consent.identity,
        session=session_digest,
        now=now,
    )
    return check_in_write(addition, seen, grant.owner, grant.client_id)


def consume_code(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks an authorization code as exchanged.

    It succeeds once, and only if the code's grant is not revoked.
    """
    return _CONSUME_CODE(wanted=digest, now=now)


def consume_cached_code(digest: bytes, grant: Grant, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks an authorization code as exchanged.

    It succeeds once, and only if the code's grant is not revoked and has scope and claims of the cached copy ``grant``.
    """
    return _CONSUME_CACHED_CODE(wanted=digest, now=now, **values_as_read(grant))


def extend(grant_id: str, expires_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that sets the expiry of a grant.

    :param expires_at: not before the expiry of the grant's newest tokens (seconds since 1970).
    """
    return _EXTEND(wanted=grant_id, until=expires_at)


def revoke(grant_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that revokes a grant.

    It changes nothing if the grant is revoked already.
    """
    return _REVOKE(wanted=grant_id, now=now)


def revoke_all_of_owner_and_client(owner: str, client_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that revokes all grants of one owner to one client."""
    return _REVOKE_ALL_OF_OWNER_AND_CLIENT(of_owner=owner, of_client=client_id, now=now)


def revoke_all_of_owner(owner: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that revokes all grants of an owner, to any client."""
    return _REVOKE_ALL_OF_OWNER(of_owner=owner, now=now)


def revoke_all_of_client(client_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that revokes all grants of a client, from any owner."""
    return _REVOKE_ALL_OF_CLIENT(of_client=client_id, now=now)


def set_last_used(grant_id: str, used_at: float) -> BoundStatement:
    return _SET_LAST_USED(wanted=grant_id, at=used_at)
