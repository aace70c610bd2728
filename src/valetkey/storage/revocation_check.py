"""SQL to add a grant or personal access token only if owner and client were not revoked since they were checked.

A request checks owner and client first and writes later. A revocation between the two must end what the request writes,
also if another transaction has written the revocation and not yet committed it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, ColumnElement, and_, bindparam, cast, exists, func, not_, or_, select

from .engine.statement import BoundStatement, Statement
from .tables import revocations


class SeenRevocations(NamedTuple):
    """The last revocations of a client, of a resource owner and of all tokens that a process has read.

    Each is the id of an entry in the change feed, the table that announces revocations; 0 if there is none.
    """

    seen_client: int = 0
    seen_owner: int = 0
    seen_all: int = 0


NOTHING_SEEN = SeenRevocations()


def _is_newer(parameter: str) -> ColumnElement[bool]:
    return revocations.c.revocation_id > cast(bindparam(parameter), BigInteger)


# For statements with the parameters ``owner`` and ``client_id``, and the members of ``SeenRevocations``.
OWNER_IS_UNREVOKED = not_(
    exists().where(
        or_(
            and_(revocations.c.kind == "owner", revocations.c.subject == bindparam("owner"), _is_newer("seen_owner")),
            and_(revocations.c.kind == "all", _is_newer("seen_all")),
        )
    )
)
OWNER_AND_CLIENT_ARE_UNREVOKED = and_(
    OWNER_IS_UNREVOKED,
    not_(
        exists().where(
            revocations.c.kind == "client", revocations.c.subject == bindparam("client_id"), _is_newer("seen_client")
        )
    ),
)
_LOCK = Statement(select(func.pg_advisory_xact_lock(bindparam("key", type_=BigInteger))))
_LOCK_SHARED = Statement(
    select(func.pg_advisory_xact_lock_shared(func.unnest(cast(bindparam("keys"), ARRAY(BigInteger)))))
)


def lock_for_revocation(kind: str, subject: str) -> BoundStatement:
    """Return the PostgreSQL statement that waits for additions of rows that are to be revoked, and then blocks them.

    The lock lasts until the end of the transaction. After it, a statement of the transaction sees all rows to revoke.

    :param kind: ``owner`` or ``client``, or ``all`` for rows of every owner and client.
    :param subject: id of the owner or client; empty for ``all``.
    """
    return _LOCK(key=_lock_key(kind, subject))


def check_in_write(
    addition: BoundStatement, seen: SeenRevocations, owner: str, client_id: str | None = None
) -> BoundStatement:
    """Return a statement that adds a row, with what it needs to add none if owner or client were revoked meanwhile.

    On PostgreSQL the statement first waits for transactions that are revoking the owner, the client or everything, and
    then blocks them, but not other additions, until its transaction ends.

    :param addition: a statement with one of the conditions of this module.
    :param seen: the revocations that were known before owner and client were checked.
    :param client_id: the client, if the statement has ``OWNER_AND_CLIENT_ARE_UNREVOKED``.
    """
    seen_values = {"seen_owner": seen.seen_owner, "seen_all": seen.seen_all}
    keys = [_lock_key("all", ""), _lock_key("owner", owner)]
    if client_id is not None:
        seen_values["seen_client"] = seen.seen_client
        keys.append(_lock_key("client", client_id))
    return BoundStatement(addition.statement, {**addition.values, **seen_values}, (_LOCK_SHARED(keys=keys),))


def _lock_key(kind: str, subject: str) -> int:
    return int.from_bytes(sha256(f"{kind}:{subject}".encode()).digest()[:8], "big", signed=True)
