"""Grants by the sign-in session in which they were made (OpenID Connect logout)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, cast, func, insert, select

from . import outbox
from .engine.records import columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import Grant
from .tables import grants
from .tables import outbox as jobs

# The owner is in each condition: a host app may give sessions of different users the same id.
_IN_SESSION = and_(grants.c.owner == bindparam("of_owner"), grants.c.sid == bindparam("sid"))
_COUNT_BY_CLIENT_IN_SESSION = Statement(
    select(grants.c.client_id, func.count()).where(_IN_SESSION).group_by(grants.c.client_id)
)
_JOB_COLUMNS = [jobs.c[name] for name in outbox.NEW_JOB_COLUMN_NAMES]
_ADD_JOB_IF_MORE_GRANTS = Statement(
    insert(jobs).from_select(
        _JOB_COLUMNS,
        select(*(cast(bindparam(column.name), column.type) for column in _JOB_COLUMNS)).where(
            select(func.count()).select_from(grants).where(_IN_SESSION).scalar_subquery() > bindparam("count_as_read")
        ),
    )
)
_LIST_ACTIVE_IN_SESSION = Statement(
    select(*columns_of(grants, Grant)).where(
        _IN_SESSION, grants.c.revoked_at.is_(None), grants.c.expires_at > bindparam("now")
    )
)
_LIST_ACTIVE_OF_OWNER = Statement(
    select(*columns_of(grants, Grant)).where(
        grants.c.owner == bindparam("owner"), grants.c.revoked_at.is_(None), grants.c.expires_at > bindparam("now")
    )
)
_LIST_CLIENT_SESSIONS = Statement(
    select(grants.c.client_id, grants.c.sid).where(grants.c.owner == bindparam("owner")).distinct()
)


def count_by_client_in_session(store: Store, owner: str, sid: str) -> dict[str, int]:
    """Return the number of grants that each client received in a sign-in session of an owner, by client id, sorted.

    Revoked and expired grants are counted too.

    :param sid: id of the session, as in ID tokens.
    """
    rows = store.fetch_all(_COUNT_BY_CLIENT_IN_SESSION(of_owner=owner, sid=sid))
    return {str(client_id): int(count) for client_id, count in sorted(rows)}


def add_job_if_session_has_more_grants(
    owner: str, sid: str, count_as_read: int, kind: str, payload: Mapping[str, Any], due_at: float
) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds a background job if a session has more grants than were read.

    In a transaction that ends the session, it must come after the statement that does: that one waits until the grants
    that are being added are committed.

    :param sid: id of the session, as in ID tokens.
    :param count_as_read: the number of grants that were read, also revoked and expired ones.
    :param kind: kind of the job, ``payload`` and ``due_at`` its other values, as in ``outbox.add``.
    """
    job = outbox.add(kind, payload, due_at)
    return _ADD_JOB_IF_MORE_GRANTS(**job.values, of_owner=owner, sid=sid, count_as_read=count_as_read)


def list_active_in_session(store: Store, owner: str, sid: str, now: float) -> list[Grant]:
    """Return an owner's grants of the sign-in session with this ``sid`` that are neither revoked nor expired."""
    return [Grant(*row) for row in store.fetch_all(_LIST_ACTIVE_IN_SESSION(of_owner=owner, sid=sid, now=now))]


def list_active_of_owner(store: Store, owner: str, now: float) -> list[Grant]:
    """Return the grants of a resource owner that are neither revoked nor expired."""
    return [Grant(*row) for row in store.fetch_all(_LIST_ACTIVE_OF_OWNER(owner=owner, now=now))]


def list_client_sessions(store: Store, owner: str) -> list[tuple[str, str | None]]:
    """Return the pairs of client id and session id (``sid``) of all grants of an owner, also revoked and expired ones.

    The session id is ``None`` for grants that were not made in a sign-in session.
    """
    return [(row[0], row[1]) for row in store.fetch_all(_LIST_CLIENT_SESSIONS(owner=owner))]
