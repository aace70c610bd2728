"""The key pairs with which the server signs tokens; the private keys are encrypted."""

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
    """A database row with a key pair for signing tokens. Times are seconds since 1970.

    :param kid: id of the key, as in the header of tokens (RFC 7515 §4.1.4).
    :param active_at: from when on the key may sign tokens; the newest such key of an algorithm does.
    :param retired_at: from when on the key is not published and its tokens are invalid; ``None`` if not planned.
    """

    kid: str
    algorithm: str
    public: str  # JWK as JSON
    private: bytes  # encrypted; empty if the key was erased
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
    """Return all signing keys, including retired ones, in the order in which they become active."""
    return [SigningKeyRow(*row) for row in store.fetch_all(_ALL())]


def retire(kid: str, retired_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that retires a signing key.

    From ``retired_at`` on (seconds since 1970), the key is not published, and tokens that it signed are invalid.
    """
    return _RETIRE(wanted=kid, moment=retired_at)


def retire_and_erase(kid: str, retired_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that retires a signing key and erases its private key.

    It is for a private key that may have been stolen.

    :param retired_at: from when on tokens that the key signed are invalid (seconds since 1970).
    """
    return _RETIRE_AND_ERASE(wanted=kid, moment=retired_at)
