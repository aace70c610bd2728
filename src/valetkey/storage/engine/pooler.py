"""Connection poolers in front of PostgreSQL, such as PgBouncer: whether there is one, and in which mode."""

from __future__ import annotations

from typing import Any


def has_pooler(raw: Any) -> bool:
    """Return whether a pooler is between this process and the database, in whatever mode.

    A pooler invents the process id that it sends to its clients when they connect, with which they can cancel a query.

    :param raw: an open psycopg connection.
    """
    (backend_pid,) = raw.execute("SELECT pg_backend_pid()").fetchone()
    return bool(backend_pid != raw.info.backend_pid)


def shares_sessions(first: Any, second: Any) -> bool:
    """Return whether a pooler uses one session of the database for the transactions of two connections.

    True proves that its mode is not ``session``. False proves nothing: there may be many idle sessions.

    :param first: an open psycopg connection, in no transaction.
    :param second: another one.
    """
    (pid,) = first.execute("SELECT pg_backend_pid()").fetchone()
    with second.transaction():
        return bool(second.execute("SELECT pg_backend_pid()").fetchone() == (pid,))
