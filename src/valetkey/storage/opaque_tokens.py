"""Opaque access tokens: only the digest is stored, with the claims that a JWT access token would contain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from .engine.records import InsertStatement, columns_of, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import access_tokens


@dataclass(frozen=True, slots=True)
class _OpaqueTokenRow:
    digest: bytes
    claims: str
    expires_at: float


_ADD = InsertStatement(access_tokens, _OpaqueTokenRow)
_FIND = Statement(
    select(*columns_of(access_tokens, _OpaqueTokenRow)).where(access_tokens.c.digest == bindparam("digest"))
)


def add(digest: bytes, claims: Mapping[str, Any]) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds an opaque access token.

    :param claims: claims of the token; ``exp`` (seconds since 1970) is required.
    """
    return _ADD(_OpaqueTokenRow(digest, to_json(claims), float(claims["exp"])))


def find(store: Store, digest: bytes) -> Mapping[str, Any] | None:
    """Return the claims of the opaque access token with this digest, or ``None`` if there is none.

    Expired tokens are found too, until they are pruned an hour after they expire.
    """
    row = store.fetch_one(_FIND(digest=digest))
    return dict(json.loads(row[1])) if row else None
