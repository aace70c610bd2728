"""The outbox: background jobs, stored in the same transaction as the change that caused them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, null, or_, select, update

from valetkey.protocol.secret import random_id

from .engine.records import InsertStatement, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import outbox


class PayloadUnreadable(ValueError):
    """The stored payload of a background job is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Job:
    """A background job. ``kind`` selects the code that runs it; ``attempts`` counts the attempts that were begun.

    A job is parked when ``parked_at`` is set: it failed too often, and is not run until the operator retries it.
    ``problem`` says why the last attempt failed. Times are in seconds since 1970.
    """

    job_id: str
    kind: str
    payload_json: str
    due_at: float
    attempts: int
    parked_at: float | None = None
    problem: str | None = None

    def parse_payload(self) -> Mapping[str, Any]:
        """Return the data for the code that runs the job.

        :raises PayloadUnreadable: if it is not a JSON object.
        """
        try:
            payload = json.loads(self.payload_json)
        except (TypeError, ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            raise PayloadUnreadable("the payload is not a JSON object")
        return payload

    @property
    def recipient(self) -> str:
        """The client, e-mail address or resource owner that the job is for; empty if there is none."""
        try:
            payload = self.parse_payload()
        except PayloadUnreadable:
            return ""
        return next((str(payload[name]) for name in _RECIPIENT_MEMBERS if name in payload), "")


@dataclass(frozen=True, slots=True)
class _JobRow:
    job_id: str
    kind: str
    payload: str
    due_at: float
    attempts: int


_RECIPIENT_MEMBERS = ("client_id", "to", "email", "owner")
_JOB_COLUMNS = (
    *(outbox.c.job_id, outbox.c.kind, outbox.c.payload, outbox.c.due_at),
    *(outbox.c.attempts, outbox.c.failed_at, outbox.c.problem),
)
_ADD = InsertStatement(outbox, _JobRow)
_IS_UNLEASED = or_(outbox.c.taken_until.is_(None), outbox.c.taken_until < bindparam("now"))
_LIST_DUE = Statement(
    select(*_JOB_COLUMNS)
    .where(outbox.c.due_at <= bindparam("now"), outbox.c.failed_at.is_(None), _IS_UNLEASED)
    .order_by(outbox.c.due_at)
    .limit(500)
)
_ACQUIRE = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"), outbox.c.failed_at.is_(None), _IS_UNLEASED)
    .values(taken_until=bindparam("until"), attempts=outbox.c.attempts + 1)
)
_REMOVE = Statement(delete(outbox).where(outbox.c.job_id == bindparam("wanted")))
_SCHEDULE_RETRY = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(due_at=bindparam("due"), taken_until=null(), problem=bindparam("why"))
)
_POSTPONE = Statement(update(outbox).where(outbox.c.job_id == bindparam("wanted")).values(due_at=bindparam("due")))
_PARK = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(failed_at=bindparam("now"), taken_until=null(), problem=bindparam("why"))
)
_LIST = Statement(select(*_JOB_COLUMNS).order_by(outbox.c.due_at, outbox.c.job_id).limit(bindparam("maximum")))
_LIST_PARKED_IDS = Statement(select(outbox.c.job_id).where(outbox.c.failed_at.is_not(None)))
_EXISTS = Statement(select(outbox.c.job_id).where(outbox.c.job_id == bindparam("wanted")))
_COUNT_PARKED = Statement(select(func.count()).select_from(outbox).where(outbox.c.failed_at.is_not(None)))
_COUNT_OVERDUE = Statement(
    select(func.count()).select_from(outbox).where(outbox.c.failed_at.is_(None), outbox.c.due_at < bindparam("before"))
)
_RETRY = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(failed_at=null(), due_at=bindparam("now"), attempts=0)
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

    Jobs that are parked, or that another worker is running, are left out.
    """
    return [Job(*row) for row in store.fetch_all(_LIST_DUE(now=now))]


def list_all(store: Store, max_jobs: int) -> list[Job]:
    """Return the jobs that wait and those that are parked, those that are due first at the beginning."""
    return [Job(*row) for row in store.fetch_all(_LIST(maximum=max_jobs))]


def list_parked_ids(store: Store) -> list[str]:
    """Return the ids of all parked jobs."""
    return [job_id for (job_id,) in store.fetch_all(_LIST_PARKED_IDS())]


def exists(store: Store, job_id: str) -> bool:
    """Return whether there is a job with this id, waiting or parked."""
    return store.fetch_one(_EXISTS(wanted=job_id)) is not None


def count_parked(store: Store) -> int:
    """Return the number of parked jobs."""
    row = store.fetch_one(_COUNT_PARKED())
    return int(row[0]) if row else 0


def count_overdue(store: Store, before: float) -> int:
    """Return the number of jobs that wait although they were due before a time (seconds since 1970)."""
    row = store.fetch_one(_COUNT_OVERDUE(before=before))
    return int(row[0]) if row else 0


def acquire(job_id: str, now: float, until: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that assigns a job to a worker.

    It also counts an attempt. It changes nothing if the job is parked, or while it is assigned to another worker.

    :param until: when the assignment ends (seconds since 1970): a worker that has not finished by then counts as
        stopped, and the job can be assigned again.
    """
    return _ACQUIRE(wanted=job_id, now=now, until=until)


def remove(job_id: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a background job that is done or is to be dropped."""
    return _REMOVE(wanted=job_id)


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


def park(job_id: str, now: float, problem: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that parks a background job: it is not run until the operator retries it.

    :param problem: why the last attempt failed, stored for the operator.
    """
    return _PARK(wanted=job_id, now=now, why=problem)


def retry(job_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that makes a background job due now and counts its attempts anew."""
    return _RETRY(wanted=job_id, now=now)
