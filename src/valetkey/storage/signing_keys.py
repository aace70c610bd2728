"""The server's signing keys; the private half is ciphertext here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import signing_keys


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    kid: str
    algorithm: str
    public: str
    private: bytes
    active_at: float
    retired_at: float | None = None

    @property
    def public_jwk(self) -> Mapping[str, Any]:
        return dict(json.loads(self.public))


add = InsertStatement(signing_keys, SigningKeyRow)
_ALL = Statement(select(*columns_of(signing_keys, SigningKeyRow)).order_by(signing_keys.c.active_at))
_RETIRE = Statement(
    update(signing_keys).where(signing_keys.c.kid == bindparam("wanted")).values(retired_at=bindparam("moment"))
)

_RETIRE_AND_ERASE = Statement(
    update(signing_keys)
    .where(signing_keys.c.kid == bindparam("wanted"))
    .values(retired_at=bindparam("moment"), private=b"")
)


def list_all(store: Store) -> list[SigningKeyRow]:
    return [SigningKeyRow(*row) for row in store.fetch_all(_ALL())]


def retire(kid: str, retired_at: float) -> BoundStatement:
    """From that moment on the key is neither published nor trusted with tokens."""
    return _RETIRE(wanted=kid, moment=retired_at)


def retire_and_erase(kid: str, retired_at: float) -> BoundStatement:
    """The same, and the key proves nothing any more: its private half, which somebody else may have, is forgotten."""
    return _RETIRE_AND_ERASE(wanted=kid, moment=retired_at)
