"""Refresh tokens (RFC 6749 §6)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import GRANT_COLUMNS, IS_AS_READ, Grant, unrevoked_grant, values_as_read
from .tables import grants, refresh_tokens


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token (RFC 6749 §6), stored as a digest. Times are seconds since 1970.

    ``used_at`` and ``successor`` are ``None`` until the token is used.
    """

    digest: bytes
    grant_id: str
    parent: bytes | None  # digest of the token that was exchanged for this one
    issued_at: float
    expires_at: float
    used_at: float | None = None
    successor: bytes | None = None  # digest of the token that this one was exchanged for


_COLUMNS = columns_of(refresh_tokens, RefreshToken)
add = InsertStatement(refresh_tokens, RefreshToken)
_FIND = Statement(
    select(*_COLUMNS, *GRANT_COLUMNS)
    .join_from(refresh_tokens, grants, refresh_tokens.c.grant_id == grants.c.grant_id)
    .where(refresh_tokens.c.digest == bindparam("digest"))
)
_FIND_UNUSED = Statement(
    select(refresh_tokens.c.digest).where(
        refresh_tokens.c.digest == bindparam("digest"), refresh_tokens.c.used_at.is_(None)
    )
)
_USE = Statement(
    update(refresh_tokens)
    .where(
        refresh_tokens.c.digest == bindparam("wanted"),
        refresh_tokens.c.used_at.is_(None),
        exists(unrevoked_grant(refresh_tokens.c.grant_id).where(IS_AS_READ)),
    )
    .values(used_at=bindparam("now"), successor=bindparam("next"))
)


def find(store: Store, digest: bytes) -> tuple[RefreshToken, Grant] | None:
    """Return the refresh token with this digest and its grant; ``None`` if there is none.

    Used and expired tokens are returned too.
    """
    row = store.fetch_one(_FIND(digest=digest))
    return (RefreshToken(*row[: len(_COLUMNS)]), Grant(*row[len(_COLUMNS) :])) if row else None


def is_unused(store: Store, digest: bytes) -> bool:
    """Return whether the refresh token with this digest exists and was never used."""
    return store.fetch_one(_FIND_UNUSED(digest=digest)) is not None


def use(digest: bytes, grant: Grant, now: float, successor: bytes) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks a refresh token as used.

    It succeeds once, and only if the token's grant is not revoked and has lost no scope since it was read.

    :param grant: the grant as the caller has read it, for which the new tokens were generated.
    :param successor: digest of the refresh token that replaces it.
    """
    return _USE(wanted=digest, now=now, next=successor, **values_as_read(grant))
