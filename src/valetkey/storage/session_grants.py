"""Grants by the sign-in session in which they were made (OpenID Connect logout)."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, select

from .engine.records import columns_of
from .engine.statement import Statement
from .engine.store import Store
from .grants import Grant
from .tables import grants

# The owner is in each condition: a host app may give sessions of different users the same id.
_IN_SESSION = and_(grants.c.owner == bindparam("of_owner"), grants.c.sid == bindparam("sid"))
_LIST_CLIENT_IDS_IN_SESSION = Statement(select(grants.c.client_id).where(_IN_SESSION).distinct())
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


def list_client_ids_in_session(store: Store, owner: str, sid: str) -> list[str]:
    """Return the sorted ids of the clients that received a grant in a sign-in session of an owner.

    Clients whose grant is revoked or expired are included.

    :param sid: id of the session, as in ID tokens.
    """
    return sorted(row[0] for row in store.fetch_all(_LIST_CLIENT_IDS_IN_SESSION(of_owner=owner, sid=sid)))


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
