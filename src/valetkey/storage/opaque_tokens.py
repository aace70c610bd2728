"""Opaque access tokens: kept as a digest and the claims that a JWT would carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from .engine.records import Insert, columns_of, to_json
from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import access_tokens


@dataclass(frozen=True, slots=True)
class _Row:
    digest: bytes
    claims: str
    expires_at: float


_ADD = Insert(access_tokens, _Row)
_FIND = Statement(select(*columns_of(access_tokens, _Row)).where(access_tokens.c.digest == bindparam("digest")))


def add(digest: bytes, claims: Mapping[str, Any]) -> Bound:
    return _ADD(_Row(digest, to_json(claims), float(claims["exp"])))


def find(store: Store, digest: bytes) -> Mapping[str, Any] | None:
    row = store.one(_FIND(digest=digest))
    return dict(json.loads(row[1])) if row else None
