"""Encrypted responses, stored for some seconds for a client or browser that lost the response and retries."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import retry_answers


@dataclass(frozen=True, slots=True)
class RetryAnswer:
    """The encrypted response to a request that succeeds only once.

    :param digest: digest of what the request used: a refresh token, or an authorization request that was decided.
    :param request: digest of the request; only the same request gets the response again.
    :param answer: the encrypted response.
    :param expires_at: when the response expires (seconds since 1970).
    """

    digest: bytes
    request: bytes
    answer: bytes
    expires_at: float


add = InsertStatement(retry_answers, RetryAnswer)
_FIND = Statement(select(*columns_of(retry_answers, RetryAnswer)).where(retry_answers.c.digest == bindparam("digest")))
_REMOVE = Statement(delete(retry_answers).where(retry_answers.c.digest == bindparam("wanted")))


def find(store: Store, digest: bytes) -> RetryAnswer | None:
    """Return the stored response to the request that used what has this digest, also if it has expired; else ``None``.

    :param digest: digest of the used refresh token, or of the id of the decided authorization request.
    """
    row = store.fetch_one(_FIND(digest=digest))
    return RetryAnswer(bytes(row[0]), bytes(row[1]), bytes(row[2]), row[3]) if row else None


def remove(digest: bytes) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the response to the request that used this digest."""
    return _REMOVE(wanted=digest)
