"""The server's signing keys; the private half is ciphertext here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from .engine.records import Insert, columns_of
from .engine.statement import Bound, Statement
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


ADD = Insert(signing_keys, SigningKeyRow)
_ALL = Statement(select(*columns_of(signing_keys, SigningKeyRow)).order_by(signing_keys.c.active_at))
_RETIRE = Statement(
    update(signing_keys).where(signing_keys.c.kid == bindparam("wanted")).values(retired_at=bindparam("moment"))
)

_END = Statement(
    update(signing_keys)
    .where(signing_keys.c.kid == bindparam("wanted"))
    .values(retired_at=bindparam("moment"), private=b"")
)


def every(store: Store) -> list[SigningKeyRow]:
    return [SigningKeyRow(*row) for row in store.all(_ALL())]


def retire(kid: str, moment: float) -> Bound:
    """From that moment on the key is neither published nor trusted with tokens."""
    return _RETIRE(wanted=kid, moment=moment)


def end(kid: str, moment: float) -> Bound:
    """The same, and the key proves nothing any more: its private half, which somebody else may have, is forgotten."""
    return _END(wanted=kid, moment=moment)
