"""Refresh tokens (RFC 6749 §6), and responses to refresh requests, stored for clients that retry."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, exists, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import GRANT_COLUMNS, Grant, unrevoked_grant
from .tables import grants, refresh_tokens, retry_answers


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


@dataclass(frozen=True, slots=True)
class RetryAnswer:
    """The encrypted response to a refresh request, stored for some seconds for a client that lost it and retries.

    :param digest: digest of the refresh token that was used.
    :param request: digest of the refresh request; only the same request gets the response again.
    :param answer: the encrypted response.
    :param expires_at: when the response expires (seconds since 1970).
    """

    digest: bytes
    request: bytes
    answer: bytes
    expires_at: float


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
        exists(unrevoked_grant(refresh_tokens.c.grant_id)),
    )
    .values(used_at=bindparam("now"), successor=bindparam("next"))
)
add_retry_answer = InsertStatement(retry_answers, RetryAnswer)
_FIND_RETRY_ANSWER = Statement(
    select(*columns_of(retry_answers, RetryAnswer)).where(retry_answers.c.digest == bindparam("digest"))
)
_REMOVE_RETRY_ANSWER = Statement(delete(retry_answers).where(retry_answers.c.digest == bindparam("wanted")))


def find(store: Store, digest: bytes) -> tuple[RefreshToken, Grant] | None:
    """Return the refresh token with this digest and its grant; ``None`` if there is none.

    Used and expired tokens are returned too.
    """
    row = store.fetch_one(_FIND(digest=digest))
    return (RefreshToken(*row[: len(_COLUMNS)]), Grant(*row[len(_COLUMNS) :])) if row else None


def is_unused(store: Store, digest: bytes) -> bool:
    """Return whether the refresh token with this digest exists and was never used."""
    return store.fetch_one(_FIND_UNUSED(digest=digest)) is not None


def use(digest: bytes, now: float, successor: bytes) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks a refresh token as used.

    It succeeds once, and only if the token's grant is not revoked.

    :param successor: digest of the refresh token that replaces it.
    """
    return _USE(wanted=digest, now=now, next=successor)


def find_retry_answer(store: Store, digest: bytes) -> RetryAnswer | None:
    """Return the stored response to the request that used a refresh token, also if it has expired; else ``None``.

    :param digest: digest of the used refresh token.
    """
    row = store.fetch_one(_FIND_RETRY_ANSWER(digest=digest))
    return RetryAnswer(*row) if row else None


def remove_retry_answer(digest: bytes) -> BoundStatement:
    return _REMOVE_RETRY_ANSWER(wanted=digest)
