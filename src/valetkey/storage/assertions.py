"""Client assertions that were used: each may be once (RFC 7523 §3)."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Executable, bindparam

from .engine.statement import Bound, Statement
from .tables import assertions


def _use(insert: Any) -> Executable:
    made: Executable = (
        insert(assertions)
        .values(digest=bindparam("digest"), expires_at=bindparam("expires_at"))
        .on_conflict_do_nothing()
    )
    return made


_USE = Statement(_use)


def use(client_id: str, jti: str, expires_at: float) -> Bound:
    """The claim on an assertion: won by the first who brings it, until it is forgotten."""
    digest = hashlib.sha256(f"{client_id}\0{jti}".encode()).digest()
    return _USE(digest=digest, expires_at=expires_at)
