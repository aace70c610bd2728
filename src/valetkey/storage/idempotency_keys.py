"""Idempotency keys: who is at work under one, and the answer that is given again."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Executable, and_, bindparam, delete, null, or_, select, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import idempotency_keys as keys


class IdempotencyRecord(NamedTuple):
    """What is known under a key; ``status`` is None while the first request is at work."""

    request: bytes
    status: int | None
    response: bytes | None


def _reserve(insert: Any) -> Executable:
    names = ("digest", "request", "begun_at", "expires_at")
    made = insert(keys).values({name: bindparam(name) for name in names})
    fresh: dict[str, Any] = {name: made.excluded[name] for name in names[1:]}
    is_over = keys.c.expires_at <= bindparam("now")
    is_left_behind = and_(keys.c.status.is_(None), keys.c.begun_at <= bindparam("given_up"))
    statement: Executable = made.on_conflict_do_update(
        index_elements=[keys.c.digest],
        set_={**fresh, "status": null(), "answer": null()},
        where=or_(is_over, is_left_behind),
    )
    return statement


_RESERVE = Statement(_reserve)
_FIND = Statement(select(keys.c.request, keys.c.status, keys.c.answer).where(keys.c.digest == bindparam("digest")))
_IS_IN_PROGRESS = and_(keys.c.digest == bindparam("of"), keys.c.begun_at == bindparam("begun"), keys.c.status.is_(None))
_SAVE_RESPONSE = Statement(
    update(keys).where(_IS_IN_PROGRESS).values(status=bindparam("status"), answer=bindparam("answer"))
)
_RELEASE = Statement(delete(keys).where(_IS_IN_PROGRESS))


def reserve(digest: bytes, request: bytes, now: float, *, abandoned_before: float, expires_at: float) -> BoundStatement:
    """The claim to work under a key: won where it is new, over, or left by whoever began before ``given_up``."""
    return _RESERVE(
        digest=digest, request=request, begun_at=now, expires_at=expires_at, now=now, given_up=abandoned_before
    )


def find(store: Store, digest: bytes) -> IdempotencyRecord | None:
    row = store.fetch_one(_FIND(digest=digest))
    return None if row is None else IdempotencyRecord(bytes(row[0]), row[1], None if row[2] is None else bytes(row[2]))


def save_response(digest: bytes, begun_at: float, status: int, response: bytes | None) -> BoundStatement:
    """Keep the answer of the request that began then, unless another has taken its place."""
    return _SAVE_RESPONSE(of=digest, begun=begun_at, status=status, answer=response)


def release(digest: bytes, begun_at: float) -> BoundStatement:
    """Forget the request that began then: its key may be tried again."""
    return _RELEASE(of=digest, begun=begun_at)
