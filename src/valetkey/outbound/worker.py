"""The worker: runs background jobs (mail, notifications), which the table ``outbox`` stores, and deletes expired rows.

Several processes may run a worker: one of them acquires a lease (a row with an end time) and works; the others wait
until the lease ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from valetkey.protocol.secret import random_id
from valetkey.settings import Settings
from valetkey.storage import leases, outbox
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.pruning import MAX_ROWS_PER_BATCH, prune_statements, remove_expired_retry_answers

from .errors import FetchError
from .mail import MailNotSent, send_mail

_LEASE_S, _PRUNE_INTERVAL_S, _JOB_LEASE_S = 15.0, 3600.0, 60.0
_MAX_BATCHES = 200  # of one table in one round: a million rows
_MAX_PARALLEL_GROUPS, _GROUP_TIMEOUT_S = 8, 5.0  # groups that run at once; time limit of a group in one round
_RETRY_DELAYS_S = (
    10.0,
    60.0,
    600.0,
    3600.0,
    6 * 3600.0,
    24 * 3600.0,
)  # after the first failed attempt, the second, ...

JobHandler = Callable[[Mapping[str, Any]], None]
_log = logging.getLogger("valetkey.worker")


class Worker:
    """Runs the background jobs that the table ``outbox`` stores: mail, and those that ``job_handlers`` can run.

    :param job_handlers: functions by kind of job, such as ``account_mail``; called with the job's payload. They raise
        ``FetchError`` or ``MailNotSent`` if the job failed and must be tried again.
    :param hourly_tasks: functions that are called once an hour, after expired rows were deleted.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float],
        job_handlers: Mapping[str, JobHandler] | None = None,
        hourly_tasks: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._job_handlers: dict[str, JobHandler] = {"mail": partial(_send_mail, settings), **(job_handlers or {})}
        self._hourly_tasks = hourly_tasks
        self._store = store
        self._clock = clock
        self._worker_id = random_id()
        self._pruned_at = 0.0
        self._lease_ends_at = 0.0

    def run(self, stop: threading.Event, *, interval_s: float = 1.0) -> None:
        """Call ``run_once`` again and again until ``stop`` is set.

        If the database is unavailable, log a warning and try again after 5 seconds.

        :param interval_s: seconds between two calls of ``run_once``.
        """
        while not stop.is_set():
            try:
                self.run_once()
            except StoreUnavailable as error:
                _log.warning("the database is unavailable, the worker tries again in 5 seconds: %s", error)
                stop.wait(5.0)
            stop.wait(interval_s)

    def run_once(self) -> int:
        """Run the jobs that are due and, once an hour, delete expired rows and run the hourly tasks.

        Return how many jobs succeeded; 0 if the worker of another process is the one that runs jobs now.

        :raises StoreUnavailable: if the database is unavailable.
        """
        now = self._clock()
        if not self._acquire_lease(now):
            return 0
        if now - self._pruned_at > _PRUNE_INTERVAL_S:
            self._pruned_at = now
            prune(self._store, now)
            for run_task in self._hourly_tasks:
                run_task()
        self._store.write(Transaction(rows=(remove_expired_retry_answers(now),)))
        return self._run_groups(_group_by_recipient(outbox.list_due(self._store, now)))

    def _acquire_lease(self, now: float) -> bool:
        """Acquire the lease that lets only one worker run jobs, or renew it when half of its time has passed.

        Return whether this worker has the lease.
        """
        if now < self._lease_ends_at - _LEASE_S / 2:
            return True
        if not self._store.write(Transaction(condition=leases.acquire("worker", self._worker_id, now, now + _LEASE_S))):
            return False
        self._lease_ends_at = now + _LEASE_S
        return True

    def _run_groups(self, groups: Sequence[Sequence[outbox.Job]]) -> int:
        """Run groups of jobs in parallel, one group per recipient, so that a slow recipient delays only its own jobs.

        Return how many jobs succeeded.
        """
        if len(groups) < 2:
            return sum(self._run_group(group) for group in groups)
        with ThreadPoolExecutor(_MAX_PARALLEL_GROUPS, "valetkey-worker") as executor:
            return sum(executor.map(self._run_group_in_thread, groups))

    def _run_group_in_thread(self, jobs: Sequence[outbox.Job]) -> int:
        try:
            return self._run_group(jobs)
        finally:
            self._store.close_reader()

    def _run_group(self, jobs: Sequence[outbox.Job]) -> int:
        """Run the jobs for one recipient in order, for 5 seconds at most. Return how many succeeded.

        After a failure, postpone the recipient's remaining jobs, so that the jobs for other recipients are read first.
        """
        ends_at, succeeded = self._clock() + _GROUP_TIMEOUT_S, 0
        for index, job in enumerate(jobs):
            if self._clock() > ends_at:
                break
            remaining = jobs[index + 1 :]
            if self._run_job(job):
                succeeded += 1
            elif remaining:
                due_at = self._clock() + _RETRY_DELAYS_S[0]
                self._store.write(Transaction(rows=tuple(outbox.postpone(later.job_id, due_at) for later in remaining)))
                break
        return succeeded

    def _run_job(self, job: outbox.Job) -> bool:
        """Run a job. Delete it if it succeeds, else schedule the next attempt.

        Return whether it succeeded; False also if another worker is running it.
        """
        now = self._clock()
        if not self._store.write(Transaction(condition=outbox.acquire(job.job_id, now, now + _JOB_LEASE_S))):
            return False
        try:
            self._job_handlers[job.kind](job.payload)
        except (MailNotSent, FetchError, KeyError) as error:
            self._store.write(Transaction(rows=(self._failure_statement(job, repr(error)),)))
            return False
        self._store.write(Transaction(rows=(outbox.complete(job.job_id),)))
        return True

    def _failure_statement(self, job: outbox.Job, error: str) -> Any:
        """Log a failed attempt, and return the SQL statement, not yet executed, that schedules the next attempt.

        After the last attempt, the statement marks the job as failed instead.
        """
        _log.warning("%s failed, attempt %d: %s", job.kind, job.attempts + 1, error)
        if job.attempts >= len(_RETRY_DELAYS_S):
            return outbox.mark_failed(job.job_id, self._clock(), error)
        return outbox.schedule_retry(job.job_id, self._clock() + _RETRY_DELAYS_S[job.attempts], error)


def _group_by_recipient(jobs: Iterable[outbox.Job]) -> list[list[outbox.Job]]:
    """Return the jobs grouped by kind and recipient, in the order in which they are due."""
    groups: dict[tuple[str, object], list[outbox.Job]] = {}
    for job in jobs:
        recipient = next((job.payload[name] for name in ("client_id", "to", "owner") if name in job.payload), None)
        groups.setdefault((job.kind, recipient), []).append(job)
    return list(groups.values())


def prune(store: Store, now: float) -> dict[str, int]:
    """Delete expired rows from all tables. Return how many rows were deleted, by name of the table."""
    deleted: dict[str, int] = {}
    for table, count_statement, delete_statement in prune_statements(now):
        for _ in range(_MAX_BATCHES):  # small transactions, so that others can write in between
            (count,) = store.fetch_one(count_statement) or (0,)
            if count:
                store.write(Transaction(rows=(delete_statement,)))
            deleted[table] = deleted.get(table, 0) + count
            if count < MAX_ROWS_PER_BATCH:
                break
    return deleted


def _send_mail(settings: Settings, payload: Mapping[str, Any]) -> None:
    send_mail(settings, payload["to"], payload["subject"], payload["text"])
