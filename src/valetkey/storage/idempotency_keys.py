"""Idempotency keys: requests in progress, and the responses that retries receive.

The keys are those of API calls (``Idempotency-Key`` header), and of forms that send mail, which may be submitted twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Double, Executable, and_, bindparam, cast, delete, null, or_, select, update

from .engine.clock import CLOCK_MARGIN_S
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import idempotency_keys as keys


class IdempotencyRecord(NamedTuple):
    """What is stored for an idempotency key: the request that reserved it, and the response.

    :param request: digest of the request that reserved the key.
    :param status: HTTP status of the response; ``None`` while that request is in progress.
    :param response: the encrypted response; ``None`` while the request is in progress, or if the response was too
        large to store.
    """

    request: bytes
    status: int | None
    response: bytes | None


def _reserve(insert: Any) -> Executable:
    names = ("digest", "request", "begun_at", "expires_at")
    insert_row = insert(keys).values({name: bindparam(name) for name in names})
    replaced: dict[str, Any] = {name: insert_row.excluded[name] for name in names[1:]}
    is_expired = keys.c.expires_at <= bindparam("now")
    was_begun_in_the_future = keys.c.begun_at > cast(bindparam("now"), Double) + CLOCK_MARGIN_S  # a clock was ahead
    is_abandoned = and_(keys.c.status.is_(None), or_(keys.c.begun_at <= bindparam("given_up"), was_begun_in_the_future))
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[keys.c.digest],
        set_={**replaced, "status": null(), "answer": null()},
        where=or_(is_expired, is_abandoned),
    )
    return statement


_RESERVE = Statement(_reserve)
_FIND = Statement(select(keys.c.request, keys.c.status, keys.c.answer).where(keys.c.digest == bindparam("digest")))
_IS_RESERVED = Statement(
    select(keys.c.digest).where(keys.c.digest == bindparam("digest"), keys.c.expires_at > bindparam("now"))
)
_IS_IN_PROGRESS = and_(keys.c.digest == bindparam("of"), keys.c.begun_at == bindparam("begun"), keys.c.status.is_(None))
_SAVE_RESPONSE = Statement(
    update(keys).where(_IS_IN_PROGRESS).values(status=bindparam("status"), answer=bindparam("answer"))
)
_RELEASE = Statement(delete(keys).where(_IS_IN_PROGRESS))


def reserve(digest: bytes, request: bytes, now: float, *, abandoned_before: float, expires_at: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that reserves an idempotency key for a request.

    It succeeds if the key is new or has expired, or if the request that reserved it has no response and began at or
    before ``abandoned_before``. All times are seconds since 1970.

    :param digest: digest of the key and of what it belongs to, such as the client.
    :param request: digest of the request.
    :param now: when the request began.
    :param expires_at: when the key may be reused for another request.
    """
    return _RESERVE(
        digest=digest, request=request, begun_at=now, expires_at=expires_at, now=now, given_up=abandoned_before
    )


def find(store: Store, digest: bytes) -> IdempotencyRecord | None:
    """Return what is stored for the idempotency key with this digest, also if it has expired; else ``None``."""
    row = store.fetch_one(_FIND(digest=digest))
    return None if row is None else IdempotencyRecord(bytes(row[0]), row[1], None if row[2] is None else bytes(row[2]))


def is_reserved(store: Store, digest: bytes, now: float) -> bool:
    """Return whether the idempotency key with this digest is reserved and has not expired."""
    return store.fetch_one(_IS_RESERVED(digest=digest, now=now)) is not None


def save_response(digest: bytes, begun_at: float, status: int, response: bytes | None) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores the response to a request with an idempotency key.

    It changes nothing if another request has reserved the key since, or if a response is stored already.

    :param digest: digest of the idempotency key.
    :param begun_at: when the request began, as passed to ``reserve`` as ``now``.
    :param response: the encrypted response; ``None`` if it is too large to store.
    """
    return _SAVE_RESPONSE(of=digest, begun=begun_at, status=status, answer=response)


def release(digest: bytes, begun_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that frees an idempotency key, so that it can be reserved again.

    It changes nothing unless the key is reserved by the unfinished request that began at ``begun_at``.
    """
    return _RELEASE(of=digest, begun=begun_at)
