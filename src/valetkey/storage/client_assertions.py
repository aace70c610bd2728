"""Records of used client assertions (JWTs that authenticate clients), each valid only once (RFC 7523 §3, ``jti``)."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Executable, bindparam

from .engine.statement import BoundStatement, Statement
from .tables import assertions


def _mark_used(insert: Any) -> Executable:
    statement: Executable = (
        insert(assertions)
        .values(digest=bindparam("digest"), expires_at=bindparam("expires_at"))
        .on_conflict_do_nothing()
    )
    return statement


_MARK_USED = Statement(_mark_used)


def mark_used(client_id: str, jti: str, expires_at: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records an assertion as used.

    It adds no row if the same client's assertion with the same ``jti`` is recorded already.

    :param expires_at: when the assertion expires (seconds since 1970); the row is pruned after that.
    """
    digest = hashlib.sha256(f"{client_id}\0{jti}".encode()).digest()
    return _MARK_USED(digest=digest, expires_at=expires_at)
