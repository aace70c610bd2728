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
from pathlib import Path
from typing import Any

from valetkey.protocol.secret import random_id
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.settings import Settings
from valetkey.storage import leases, outbox
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.pruning import MAX_ROWS_PER_BATCH, prune_statements, remove_expired_retry_answers

from .errors import FetchError
from .mail import MailNotSent, MailRefused, send_mail

_LEASE_S, _PRUNE_INTERVAL_S, _JOB_LEASE_S = 15.0, 3600.0, 60.0
_MAX_BATCHES = 200  # of one table in one round: a million rows
_MAX_PARALLEL_GROUPS, _GROUP_TIMEOUT_S = 8, 5.0  # groups that run at once; time limit of a group in one round
# After the first failed attempt, the second, ...; the job is parked after the attempt that follows the last delay.
_RETRY_DELAYS_S = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
_RESTART_DELAY_S = 5.0  # after an error that is not a job's or a task's own

JobHandler = Callable[[Mapping[str, Any], float], None]  # called with the job's payload and the current time
_log = logging.getLogger("valetkey")


class Worker:
    """Runs the background jobs that the table ``outbox`` stores: mail, and those that ``job_handlers`` can run.

    A job that fails is tried again later, and parked after seven attempts, whatever it raises. A failed job, hourly
    task or deletion of rows does not stop the others.

    :param job_handlers: functions by kind of job, such as ``account_mail``; called with the job's payload and the
        current time. They raise ``FetchError`` or ``MailNotSent`` if another server is the reason, and ``MailRefused``
        if the job must be parked at once. Anything else that they raise is logged as an error.
    :param hourly_tasks: functions that are called once an hour with the current time, after expired rows were deleted.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float],
        job_handlers: Mapping[str, JobHandler] | None = None,
        hourly_tasks: Sequence[Callable[[float], object]] = (),
    ) -> None:
        self._job_handlers: dict[str, JobHandler] = {"mail": partial(_send_mail, settings), **(job_handlers or {})}
        self._hourly_tasks = hourly_tasks
        self._audit_retention_days = settings.audit_retention_days
        self._store = store
        self._clock = clock
        self._worker_id = random_id()
        self._pruned_at = 0.0
        self._lease_ends_at = 0.0

    def run(self, stop: threading.Event, *, interval_s: float = 1.0) -> None:
        """Call ``run_once`` again and again until ``stop`` is set.

        If it fails, log why and go on after 5 seconds. An unavailable database is a warning, anything else an error.

        :param interval_s: seconds between two calls of ``run_once``.
        """
        while not stop.is_set():
            try:
                self.run_once()
            except StoreUnavailable as error:
                _log.warning("the database is unavailable, the worker tries again in 5 seconds: %s", error)
                stop.wait(_RESTART_DELAY_S)
            except BaseException as error:  # the worker must go on
                _raise_if_interrupted(error)
                _log.error("the worker failed, and continues in 5 seconds: %s", describe_error(error))
                stop.wait(_RESTART_DELAY_S)
            stop.wait(interval_s)

    def run_once(self) -> int:
        """Run the jobs that are due and, once an hour, delete expired rows and run the hourly tasks.

        Return how many jobs succeeded; 0 if the worker of another process is the one that runs jobs now.

        :raises StoreUnavailable: if the database is unavailable.
        """
        now = self._clock()
        if not self._acquire_lease(now):
            return 0
        if not 0 <= now - self._pruned_at <= _PRUNE_INTERVAL_S:  # below 0: the clock was set back
            self._pruned_at = now
            prune(self._store, now, self._audit_retention_days)
            for run_task in self._hourly_tasks:
                _run_isolated("an hourly task", partial(run_task, now))
        _run_isolated("deleting expired copies of responses", lambda: _remove_retry_answers(self._store, now))
        return self._run_groups(_group_by_recipient(outbox.list_due(self._store, now)))

    def _acquire_lease(self, now: float) -> bool:
        """Acquire the lease that lets only one worker run jobs, or renew it when half of its time has passed.

        Return whether this worker has the lease.
        """
        if _LEASE_S / 2 < self._lease_ends_at - now <= _LEASE_S:  # more: the clock was set back
            return True
        if not self._store.write(Transaction(condition=leases.acquire("worker", self._worker_id, _LEASE_S))):
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
            return sum(executor.map(self._run_group, groups))

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
        """Run a job. Delete it if it succeeds, else schedule the next attempt or park it.

        Return whether it succeeded; False also if another worker is running it.
        """
        now = self._clock()
        if not self._store.write(Transaction(condition=outbox.acquire(job.job_id, now, now + _JOB_LEASE_S))):
            return False
        statement = self._attempt(job)
        self._store.write(Transaction(rows=(statement or outbox.remove(job.job_id),)))
        return statement is None

    def _attempt(self, job: outbox.Job) -> BoundStatement | None:
        """Call the handler of a job. Return None if it succeeded, else the SQL statement that records the failure."""
        if job.attempts > len(_RETRY_DELAYS_S):  # attempts are counted when they begin
            return self._failure_statement(job, job.problem or "the process ended during each attempt", is_final=True)
        handler = self._job_handlers.get(job.kind)
        if handler is None:
            return self._failure_statement(job, "this version of Valetkey does not support jobs of this kind")
        try:
            handler(job.parse_payload(), self._clock())
        except (MailNotSent, FetchError, outbox.PayloadUnreadable, BackendUnavailable) as error:
            return self._failure_statement(job, str(error), is_final=isinstance(error, MailRefused))
        except BaseException as error:  # the host's code may raise anything, and the worker must go on
            _raise_if_interrupted(error)
            return self._failure_statement(job, describe_error(error), level=logging.ERROR)
        return None

    def _failure_statement(
        self, job: outbox.Job, problem: str, *, is_final: bool = False, level: int = logging.WARNING
    ) -> BoundStatement:
        """Log a failed attempt, and return the SQL statement, not yet executed, that schedules the next attempt.

        The statement parks the job instead if there is no next attempt.

        :param is_final: whether another attempt would fail too.
        """
        problem, now = _printable(problem), self._clock()
        _log.log(level, "%s %s failed, attempt %d: %s", _printable(job.kind), job.job_id, job.attempts + 1, problem)
        if is_final or job.attempts >= len(_RETRY_DELAYS_S):
            _log.error("%s %s is parked; see `valetkey outbox list`", _printable(job.kind), job.job_id)
            return outbox.park(job.job_id, now, problem)
        return outbox.schedule_retry(job.job_id, now + _RETRY_DELAYS_S[job.attempts], problem)


def describe_error(error: BaseException) -> str:
    """Return the class of an unexpected error, and the file and line that raised it.

    The message of the error is left out, because it may contain personal data or a secret.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"


def _run_isolated(name: str, task: Callable[[], object]) -> None:
    """Call a function. If it raises anything, log an error and return, so that the worker goes on."""
    try:
        task()
    except BaseException as error:
        _raise_if_interrupted(error)
        _log.error("%s failed: %s", name, describe_error(error))


def _raise_if_interrupted(error: BaseException) -> None:
    """Raise the exception again if it is from Ctrl-C, which Python raises in the main thread only."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def _printable(text: str) -> str:
    """Return a text in one line of 300 characters at most, without characters that a log or database cannot contain."""
    return "".join(character if character.isprintable() else "?" for character in text[:300])


def _group_by_recipient(jobs: Iterable[outbox.Job]) -> list[list[outbox.Job]]:
    """Return the jobs grouped by kind and recipient, in the order in which they are due."""
    groups: dict[tuple[str, str], list[outbox.Job]] = {}
    for job in jobs:
        groups.setdefault((job.kind, job.recipient), []).append(job)
    return list(groups.values())


def prune(store: Store, now: float, audit_retention_days: int = 0) -> dict[str, int]:
    """Delete expired rows from all tables. Return how many rows were deleted, by name of the table.

    If a table cannot be pruned, log an error and go on with the next one.

    :param audit_retention_days: days for which the audit log is retained; 0: for ever.
    """
    deleted: dict[str, int] = {}
    for table, count_statement, delete_statement in prune_statements(now, audit_retention_days):
        deleted.setdefault(table, 0)  # the audit log is pruned twice
        _run_isolated(
            f"pruning {table}", partial(_prune_table, store, table, count_statement, delete_statement, deleted)
        )
    return deleted


def _prune_table(
    store: Store, table: str, count_statement: BoundStatement, delete_statement: BoundStatement, deleted: dict[str, int]
) -> None:
    """Delete the expired rows of one table, and add their number to ``deleted``."""
    for _ in range(_MAX_BATCHES):  # small transactions, so that others can write in between
        (count,) = store.fetch_one(count_statement) or (0,)
        if count:
            store.write(Transaction(rows=(delete_statement,)))
        deleted[table] += count
        if count < MAX_ROWS_PER_BATCH:
            break


def _remove_retry_answers(store: Store, now: float) -> None:
    store.write(Transaction(rows=(remove_expired_retry_answers(now),)))


def _send_mail(settings: Settings, payload: Mapping[str, Any], _now: float) -> None:
    send_mail(settings, payload["to"], payload["subject"], payload["text"])
