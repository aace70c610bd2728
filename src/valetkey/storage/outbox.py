"""Work that nobody waits for, kept with the write that caused it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, null, or_, select, update

from valetkey.protocol.secret import random_id

from .engine.records import Insert, to_json
from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import outbox


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class _Row:
    job_id: str
    kind: str
    payload: str
    due_at: float
    attempts: int


_ADD = Insert(outbox, _Row)
_IS_FREE = or_(outbox.c.taken_until.is_(None), outbox.c.taken_until < bindparam("now"))
_DUE = Statement(
    select(outbox.c.job_id, outbox.c.kind, outbox.c.payload, outbox.c.attempts)
    .where(outbox.c.due_at <= bindparam("now"), outbox.c.failed_at.is_(None), _IS_FREE)
    .order_by(outbox.c.due_at)
    .limit(500)
)
_TAKE = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"), outbox.c.failed_at.is_(None), _IS_FREE)
    .values(taken_until=bindparam("until"), attempts=outbox.c.attempts + 1)
)
_DONE = Statement(delete(outbox).where(outbox.c.job_id == bindparam("wanted")))
_LATER = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(due_at=bindparam("due"), taken_until=null(), problem=bindparam("why"))
)
_POSTPONE = Statement(update(outbox).where(outbox.c.job_id == bindparam("wanted")).values(due_at=bindparam("due")))
_GIVE_UP = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(failed_at=bindparam("now"), taken_until=null(), problem=bindparam("why"))
)


def add(kind: str, payload: Mapping[str, Any], due_at: float) -> Bound:
    return _ADD(_Row(random_id(), kind, to_json(payload), due_at, 0))


def due(store: Store, now: float) -> list[Job]:
    return [Job(row[0], row[1], dict(json.loads(row[2])), row[3]) for row in store.all(_DUE(now=now))]


def take(job_id: str, now: float, until: float) -> Bound:
    """The claim on a job: one worker has it, until it is done or that worker is taken for dead."""
    return _TAKE(wanted=job_id, now=now, until=until)


def done(job_id: str) -> Bound:
    return _DONE(wanted=job_id)


def later(job_id: str, due_at: float, why: str) -> Bound:
    return _LATER(wanted=job_id, due=due_at, why=why)


def postpone(job_id: str, due_at: float) -> Bound:
    """Not now, though nobody has tried."""
    return _POSTPONE(wanted=job_id, due=due_at)


def give_up(job_id: str, now: float, why: str) -> Bound:
    return _GIVE_UP(wanted=job_id, now=now, why=why)
