"""Client assertions that were used: each may be once (RFC 7523 §3)."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Executable, bindparam

from .engine.statement import BoundStatement, Statement
from .tables import assertions


def _mark_used(insert: Any) -> Executable:
    made: Executable = (
        insert(assertions)
        .values(digest=bindparam("digest"), expires_at=bindparam("expires_at"))
        .on_conflict_do_nothing()
    )
    return made


_MARK_USED = Statement(_mark_used)


def mark_used(client_id: str, jti: str, expires_at: float) -> BoundStatement:
    """The claim on an assertion: won by the first who brings it, until it is forgotten."""
    digest = hashlib.sha256(f"{client_id}\0{jti}".encode()).digest()
    return _MARK_USED(digest=digest, expires_at=expires_at)
