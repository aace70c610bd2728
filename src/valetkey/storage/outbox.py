"""The outbox: background jobs, stored in the same transaction as the change that caused them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Double,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from valetkey.protocol.secret import random_id

from .engine.clock import CLOCK_MARGIN_S
from .engine.records import InsertStatement, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .leases import has_ended
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


_job_numbers = itertools.count()
NEW_JOB_COLUMN_NAMES = tuple(field.name for field in fields(_JobRow))
_RECIPIENT_MEMBERS = ("client_id", "to", "email", "owner")
_JOB_COLUMNS = (
    *(outbox.c.job_id, outbox.c.kind, outbox.c.payload, outbox.c.due_at),
    *(outbox.c.attempts, outbox.c.failed_at, outbox.c.problem),
)
_ADD = InsertStatement(outbox, _JobRow)
_LEASE_S = 60.0
MAX_DELAY_S = 24 * 3600.0  # no job is due later than this after it was added or has failed
_NOW = cast(bindparam("now"), Double)
_IS_UNLEASED = or_(outbox.c.taken_until.is_(None), has_ended(outbox.c.taken_until, _NOW, _LEASE_S))
# A job that is due later than any job can be that is added now was added while a clock was ahead.
_IS_TOO_FAR_AHEAD = outbox.c.due_at > _NOW + MAX_DELAY_S + CLOCK_MARGIN_S
_IS_DUE = and_(or_(outbox.c.due_at <= _NOW, _IS_TOO_FAR_AHEAD), outbox.c.failed_at.is_(None), _IS_UNLEASED)


def _list_due(recipient: ColumnElement[str], paused: Select[Any]) -> Select[Any]:
    """Return the SQL query for the jobs of one kind that ``list_due`` returns.

    :param recipient: the SQL expression for a text that is the same for all jobs of one recipient. A payload that is no
        JSON must not make it fail.
    :param paused: selects the groups that are left out.
    """
    group = outbox.c.kind.concat(literal(" ", Text)).concat(recipient)
    due = select(*_JOB_COLUMNS, group.label("group")).where(
        _IS_DUE, outbox.c.kind == bindparam("of_kind"), group.not_in(paused)
    )
    first = due.order_by(outbox.c.due_at, outbox.c.job_id).limit(bindparam("max_read")).subquery()
    number = func.row_number().over(partition_by=first.c.group, order_by=[first.c.due_at, first.c.job_id])
    numbered = select(*first.c, number.label("of_group")).subquery()
    columns = [numbered.c[column.name] for column in (numbered.c.group, *_JOB_COLUMNS)]
    return (
        select(*columns)
        .where(numbered.c.of_group <= bindparam("max_per_group"))
        .order_by(numbered.c.of_group, numbered.c.due_at, numbered.c.job_id)
        .limit(bindparam("max_per_kind"))
    )


def _extract_text(name: str) -> ColumnElement[str | None]:
    """Return the PostgreSQL expression for the value of a text member of the payload, which ``to_json`` has made.

    Ten times as fast as a regular expression; PostgreSQL 15 has no JSON function that accepts a text that is no JSON.
    """
    after_name = func.split_part(outbox.c.payload, literal(f'"{name}":"', Text), 2)
    return func.nullif(func.split_part(after_name, literal('"', Text), 1), "")


_PAUSED = cast(bindparam("paused"), Text)  # a JSON list
_EXTRACTED = (func.json_extract(outbox.c.payload, f"$.{name}") for name in _RECIPIENT_MEMBERS)
_LIST_DUE_KINDS = Statement(select(outbox.c.kind).where(_IS_DUE).distinct().order_by(outbox.c.kind))
_LIST_DUE = Statement(
    {
        "sqlite": _list_due(
            case((func.json_valid(outbox.c.payload) == 1, func.coalesce(*_EXTRACTED, "")), else_=""),
            select(func.json_each(_PAUSED).table_valued("value").c.value),
        ),
        "postgresql": _list_due(
            func.coalesce(*map(_extract_text, _RECIPIENT_MEMBERS), ""),
            select(func.json_array_elements_text(cast(_PAUSED, JSON))),
        ),
    }
)
_ACQUIRE = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"), outbox.c.failed_at.is_(None), _IS_UNLEASED)
    .values(taken_until=_NOW + _LEASE_S, attempts=outbox.c.attempts + 1)
)
_REMOVE = Statement(delete(outbox).where(outbox.c.job_id == bindparam("wanted")))
_SCHEDULE_RETRY = Statement(
    update(outbox)
    .where(outbox.c.job_id == bindparam("wanted"))
    .values(due_at=bindparam("due"), taken_until=null(), problem=bindparam("why"))
)
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
    select(func.count())
    .select_from(outbox)
    .where(outbox.c.failed_at.is_(None), or_(outbox.c.due_at < _NOW - bindparam("delay_s"), _IS_TOO_FAR_AHEAD))
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
    return _ADD(_JobRow(_make_job_id(), kind, to_json(payload), due_at, 0))


def _make_job_id() -> str:
    """Return an id. If a process adds several jobs for the same time, they run in the order of their ids."""
    return f"{next(_job_numbers):010d}{random_id()}"


def list_due(
    store: Store,
    now: float,
    paused: Iterable[str] = (),
    *,
    max_per_group: int = 100,
    max_per_kind: int = 500,
    max_read: int = 30_000,
) -> dict[str, list[Job]]:
    """Return jobs that are due, those that are due first at the beginning, by the name of their group.

    A group is the jobs of one kind for one recipient. The first jobs of all groups are taken before the second ones,
    and so on. Groups of different kinds alternate. Jobs that are parked, or that another worker is running, are left
    out.

    :param paused: the names of groups that are left out.
    :param max_per_group: largest number of jobs of one group.
    :param max_per_kind: largest number of jobs of one kind.
    :param max_read: number of jobs of one kind, those that are due first, from which these are taken. To number 700,000
        by group would take PostgreSQL longer than a statement may.
    """
    groups: dict[str, list[Job]] = {}
    values = {"paused": to_json(list(paused)), "max_per_group": max_per_group, "max_per_kind": max_per_kind}
    values |= {"max_read": max_read, "now": now}
    rows_by_kind = [
        store.fetch_all(_LIST_DUE(of_kind=kind, **values)) for (kind,) in store.fetch_all(_LIST_DUE_KINDS(now=now))
    ]
    for rows in zip_longest(*rows_by_kind):
        for group, *job in filter(None, rows):
            groups.setdefault(group, []).append(Job(*job))
    return groups


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


def count_overdue(store: Store, now: float, delay_s: float) -> int:
    """Return the number of jobs that wait although they were due more than ``delay_s`` seconds ago."""
    row = store.fetch_one(_COUNT_OVERDUE(now=now, delay_s=delay_s))
    return int(row[0]) if row else 0


def acquire(job_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that assigns a job to a worker.

    It also counts an attempt. It changes nothing if the job is parked, or while it is assigned to another worker. The
    assignment ends after a minute: a worker that has not finished by then counts as stopped, and the job can be
    assigned again.
    """
    return _ACQUIRE(wanted=job_id, now=now)


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


def park(job_id: str, now: float, problem: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that parks a background job: it is not run until the operator retries it.

    :param problem: why the last attempt failed, stored for the operator.
    """
    return _PARK(wanted=job_id, now=now, why=problem)


def retry(job_id: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that makes a background job due now and counts its attempts anew."""
    return _RETRY(wanted=job_id, now=now)
