"""Personal access tokens, which resource owners create for their own programs. Only their digests are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, and_, bindparam, cast, exists, func, or_, select, update

from .change_feed import insert_entries_for
from .engine.records import columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import unrevoked_grant
from .revocation_check import NOTHING_SEEN, OWNER_IS_UNREVOKED, SeenRevocations, check_in_write
from .tables import grants
from .tables import personal_access_tokens as tokens

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A personal access token. Times are seconds since 1970.

    :param owner: ``sub`` of the resource owner.
    :param scope: scope names, separated by spaces.
    :param resources: JSON list of the resources (RFC 8707) that the token is valid for.
    :param prefix: the beginning of the token, by which its owner recognizes it.
    :param grant_id: if a client created the token for its owner: the client's grant; the token is invalid once that
        is revoked. ``None`` if the owner created it.
    :param revoked_at: when the token was revoked, or the grant of the client that created it; ``None`` if neither was.
    :param reminded: the last reminder about the token's expiry that was sent or is not needed, as a number of days
        before the expiry; ``None`` if none was sent.
    """

    token_id: str
    digest: bytes
    owner: str
    name: str
    prefix: str
    scope: str
    resources: str
    created_at: float
    expires_at: float
    grant_id: str | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    reminded: int | None = None

    @property
    def resource_list(self) -> tuple[str, ...]:
        return tuple(json.loads(self.resources))


_COLUMNS = columns_of(tokens, PersonalToken)
_GRANT_REVOKED_AT = select(grants.c.revoked_at).where(grants.c.grant_id == tokens.c.grant_id).scalar_subquery()
_SELECTED = [
    func.coalesce(column, _GRANT_REVOKED_AT) if column is tokens.c.revoked_at else column for column in _COLUMNS
]


# Locks the grant's row until the token is committed: who revokes the grant waits, and then revokes the token too.
_HAS_UNREVOKED_GRANT = exists(
    unrevoked_grant(cast(bindparam("grant_id"), tokens.c.grant_id.type)).with_for_update(read=True)
)


def _add(insert: Any) -> Executable:
    values = (cast(bindparam(column.name), column.type) for column in _COLUMNS)
    has_no_grant = cast(bindparam("grant_id"), tokens.c.grant_id.type).is_(None)
    addition = insert(tokens).from_select(
        [column.name for column in _COLUMNS],
        select(*values).where(OWNER_IS_UNREVOKED, or_(has_no_grant, _HAS_UNREVOKED_GRANT)),
    )
    statement: Executable = addition.on_conflict_do_nothing()
    return statement


_OF_OWNER = tokens.c.owner == bindparam("of_owner")
_GRANT_IS_UNREVOKED = exists().where(grants.c.grant_id == tokens.c.grant_id, grants.c.revoked_at.is_(None))
_IS_ACTIVE = and_(
    tokens.c.revoked_at.is_(None),
    tokens.c.expires_at > bindparam("now"),
    or_(tokens.c.grant_id.is_(None), _GRANT_IS_UNREVOKED),
)
_NOT_REMINDED = or_(tokens.c.reminded.is_(None), tokens.c.reminded > bindparam("days"))
_ADD = Statement(_add)
_FIND_ACTIVE = Statement(select(*_SELECTED).where(tokens.c.digest == bindparam("digest"), _IS_ACTIVE))
_NEWEST_FIRST = select(*_SELECTED).order_by(tokens.c.created_at.desc(), tokens.c.token_id)
_LIST_ALL = Statement(_NEWEST_FIRST)
_LIST_BY_OWNER = Statement(_NEWEST_FIRST.where(_OF_OWNER))
_FIND_BY_ID = Statement(select(*_SELECTED).where(tokens.c.token_id == bindparam("token_id")))
_REVOKE = Statement(
    update(tokens)
    .where(tokens.c.token_id == bindparam("wanted"), _OF_OWNER, tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_REVOKE_ALL_OF_OWNER = Statement(
    update(tokens).where(_OF_OWNER, tokens.c.revoked_at.is_(None)).values(revoked_at=bindparam("at"))
)
_UNREVOKED_OF_CLIENT = and_(
    tokens.c.revoked_at.is_(None),
    tokens.c.grant_id.in_(select(grants.c.grant_id).where(grants.c.client_id == bindparam("of_client"))),
)
_ADD_REVOCATIONS_OF_CLIENT = insert_entries_for("token", tokens.c.token_id, _UNREVOKED_OF_CLIENT)
_REVOKE_ALL_OF_CLIENT = Statement(update(tokens).where(_UNREVOKED_OF_CLIENT).values(revoked_at=bindparam("at")))
_SET_LAST_USED = Statement(
    update(tokens).where(tokens.c.token_id == bindparam("wanted")).values(last_used_at=bindparam("at"))
)
_LIST_DUE_FOR_REMINDER = Statement(
    select(*_SELECTED).where(_IS_ACTIVE, tokens.c.expires_at <= bindparam("until"), _NOT_REMINDED).limit(500)
)
_MARK_REMINDED = Statement(
    update(tokens)
    .where(tokens.c.token_id == bindparam("wanted"), tokens.c.revoked_at.is_(None), _NOT_REMINDED)
    .values(reminded=bindparam("reminder"))
)


def add(token: PersonalToken, seen: SeenRevocations = NOTHING_SEEN) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a personal access token.

    It adds none if the token's id exists already, which happens if the page's form is submitted twice, or if its owner
    or its grant was revoked meanwhile.

    :param seen: the revocations that were known before the owner was checked.
    """
    return check_in_write(_ADD(**{column.name: getattr(token, column.name) for column in _COLUMNS}), seen, token.owner)


def find_active(store: Store, digest: bytes, now: float) -> PersonalToken | None:
    """Return the personal access token with this digest.

    ``None`` if there is none, if it has expired or is revoked, or if a client created it whose grant is revoked.
    """
    row = store.fetch_one(_FIND_ACTIVE(digest=digest, now=now))
    return PersonalToken(*row) if row else None


def find(store: Store, token_id: str) -> PersonalToken | None:
    """Return the personal access token with this id, also if it is revoked or expired; ``None`` if there is none."""
    row = store.fetch_one(_FIND_BY_ID(token_id=token_id))
    return PersonalToken(*row) if row else None


def list_by_owner(store: Store, owner: str) -> list[PersonalToken]:
    """Return all personal access tokens of an owner, newest first, including revoked and expired ones."""
    return [PersonalToken(*row) for row in store.fetch_all(_LIST_BY_OWNER(of_owner=owner))]


def list_all(store: Store) -> list[PersonalToken]:
    """Return the personal access tokens of all owners, newest first, including revoked and expired ones."""
    return [PersonalToken(*row) for row in store.fetch_all(_LIST_ALL())]


def revoke(token_id: str, owner: str, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that revokes a personal access token.

    It succeeds once, and only if the token belongs to ``owner``.
    """
    return _REVOKE(wanted=token_id, of_owner=owner, at=now)


def revoke_all_of_owner(owner: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that revokes all personal access tokens of an owner."""
    return _REVOKE_ALL_OF_OWNER(of_owner=owner, at=now)


def client_revocation_statements(client_id: str, now: float) -> tuple[BoundStatement, ...]:
    """Return SQL statements, not yet run, that revoke all personal access tokens that a client created.

    They also add each token to the change feed, the rows by which all processes learn of revocations.
    """
    return _ADD_REVOCATIONS_OF_CLIENT(of_client=client_id), _REVOKE_ALL_OF_CLIENT(of_client=client_id, at=now)


def set_last_used(token_id: str, used_at: float) -> BoundStatement:
    return _SET_LAST_USED(wanted=token_id, at=used_at)


def list_due_for_reminder(store: Store, days: int, now: float) -> list[PersonalToken]:
    """Return up to 500 valid personal access tokens whose owners need a reminder of the expiry.

    These tokens expire within ``days`` days, and no reminder for this or a smaller number of days was sent.
    """
    return [
        PersonalToken(*row)
        for row in store.fetch_all(_LIST_DUE_FOR_REMINDER(now=now, until=now + days * _DAY_S, days=days))
    ]


def mark_reminded(token_id: str, days: int) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records an expiry reminder as sent.

    It changes nothing if the personal access token is revoked, or if this or a later reminder is recorded already: of
    two workers only one sends it.

    :param days: which reminder it is, as a number of days before the expiry.
    """
    return _MARK_REMINDED(wanted=token_id, days=days, reminder=days)
