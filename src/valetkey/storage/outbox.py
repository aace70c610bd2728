"""The outbox: background jobs, stored in the same transaction as the change that caused them."""

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
    """A background job. ``kind`` selects the code that runs it; ``attempts`` counts the attempts that were begun."""

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
    """Return the SQL statement, not yet run, that adds a background job.

    :param kind: kind of the job, which selects the code that runs it.
    :param payload: data for that code, stored as JSON.
    :param due_at: the job is run at or after this time (seconds since 1970).
    """
    return _ADD(_JobRow(random_id(), kind, to_json(payload), due_at, 0))


def list_due(store: Store, now: float) -> list[Job]:
    """Return up to 500 jobs that are due, earliest first.

    Jobs that have failed for good, or that another worker is running, are left out.
    """
    return [Job(row[0], row[1], dict(json.loads(row[2])), row[3]) for row in store.fetch_all(_LIST_DUE(now=now))]


def acquire(job_id: str, now: float, until: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that assigns a job to a worker.

    It also counts an attempt. It changes nothing if the job has failed for good, or while it is assigned to another
    worker.

    :param until: when the assignment ends (seconds since 1970): a worker that has not finished by then counts as
        stopped, and the job can be assigned again.
    """
    return _ACQUIRE(wanted=job_id, now=now, until=until)


def complete(job_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a background job that is done."""
    return _COMPLETE(wanted=job_id)


def schedule_retry(job_id: str, due_at: float, problem: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that schedules another attempt at a background job.

    Any worker can run the job from then on.

    :param due_at: time of the next attempt (seconds since 1970).
    :param problem: why this attempt failed, stored for the operator.
    """
    return _SCHEDULE_RETRY(wanted=job_id, due=due_at, why=problem)


def postpone(job_id: str, due_at: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that moves a background job to the later time ``due_at``.

    It does not count an attempt.
    """
    return _POSTPONE(wanted=job_id, due=due_at)


def mark_failed(job_id: str, now: float, problem: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that marks a background job as failed, so that it is not tried again.

    :param problem: why the last attempt failed, stored for the operator.
    """
    return _MARK_FAILED(wanted=job_id, now=now, why=problem)
