"""Work that nobody waits for, kept with the write that caused it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, null, or_, select, update

from valetkey.protocol.secret import random_id

from .engine.records import InsertStatement, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import outbox


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class _JobRow:
    job_id: str
    kind: str
    payload: str
    due_at: float
    attempts: int


_ADD = InsertStatement(outbox, _JobRow)
_IS_UNLEASED = or_(outbox.c.taken_until.is_(None), outbox.c.taken_until < bindparam("now"))
_LIST_DUE = Statement(
    select(outbox.c.job_id, outbox.c.kind, outbox.c.payload, outbox.c.attempts)
    .where(outbox.c.due_at <= bindparam("now"), outbox.c.failed_at.is_(None), _IS_UNLEASED)
    .order_by(outbox.c.due_at)
    .limit(500)
)
_ACQUIRE = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"), outbox.c.failed_at.is_(None), _IS_UNLEASED)
    .values(taken_until=bindparam("until"), attempts=outbox.c.attempts + 1)
)
_COMPLETE = Statement(delete(outbox).where(outbox.c.job_id == bindparam("wanted")))
_SCHEDULE_RETRY = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(due_at=bindparam("due"), taken_until=null(), problem=bindparam("why"))
)
_POSTPONE = Statement(update(outbox).where(outbox.c.job_id == bindparam("wanted")).values(due_at=bindparam("due")))
_MARK_FAILED = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(failed_at=bindparam("now"), taken_until=null(), problem=bindparam("why"))
)


def add(kind: str, payload: Mapping[str, Any], due_at: float) -> BoundStatement:
    return _ADD(_JobRow(random_id(), kind, to_json(payload), due_at, 0))


def list_due(store: Store, now: float) -> list[Job]:
    return [Job(row[0], row[1], dict(json.loads(row[2])), row[3]) for row in store.fetch_all(_LIST_DUE(now=now))]


def acquire(job_id: str, now: float, until: float) -> BoundStatement:
    """The claim on a job: one worker has it, until it is done or that worker is taken for dead."""
    return _ACQUIRE(wanted=job_id, now=now, until=until)


def complete(job_id: str) -> BoundStatement:
    return _COMPLETE(wanted=job_id)


def schedule_retry(job_id: str, due_at: float, problem: str) -> BoundStatement:
    return _SCHEDULE_RETRY(wanted=job_id, due=due_at, why=problem)


def postpone(job_id: str, due_at: float) -> BoundStatement:
    """Not now, though nobody has tried."""
    return _POSTPONE(wanted=job_id, due=due_at)


def mark_failed(job_id: str, now: float, problem: str) -> BoundStatement:
    return _MARK_FAILED(wanted=job_id, now=now, why=problem)
