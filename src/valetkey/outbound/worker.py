"""The worker: runs background jobs (mail, notifications), which the table ``outbox`` stores, and deletes expired rows.

Several processes may run a worker: one of them acquires a lease (a row with an end time) and works; the others wait
until the lease ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, reduce
from typing import Any, NamedTuple

from valetkey.protocol.secret import random_id
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.settings import Settings
from valetkey.storage import leases, outbox
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.pruning import remove_expired_retry_answers

from .errors import FetchError, MailNotSent, MailRefused
from .isolation import describe_error, raise_if_interrupted, run_isolated
from .pruning import prune

_LEASE_NAME, _LEASE_S, _PRUNE_INTERVAL_S = "worker", 15.0, 3600.0
_MAX_PARALLEL_GROUPS = 8  # recipients whose jobs run at once
_ROUND_S = 5.0  # the time limits of all recipients in one round take this long together
# After the first failed attempt, the second, ...; the job is parked after the attempt that follows the last delay.
_RETRY_DELAYS_S = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, outbox.MAX_DELAY_S)
_RESTART_DELAY_S = 5.0  # after an error that is not a job's or a task's own

JobHandler = Callable[[Mapping[str, Any], float], None]  # called with the job's payload and the current time
_log = logging.getLogger("valetkey")


class JobCounts(NamedTuple):
    """Numbers of attempts to run background jobs that succeeded and that failed."""

    succeeded: int = 0
    failed: int = 0

    def plus(self, other: JobCounts) -> JobCounts:
        """Return the sums of two counts."""
        return JobCounts(self.succeeded + other.succeeded, self.failed + other.failed)


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
        self._paused_until: dict[str, float] = {}  # by name of a group of jobs, after a failure
        self._stop = threading.Event()

    def run(self, stop: threading.Event, *, interval_s: float = 1.0) -> None:
        """Call ``run_once`` again and again until ``stop`` is set; then finish the jobs that are running, and return.

        The worker of another process can continue at once.

        If it fails, log why and continue after 5 seconds. An unavailable database is a warning, anything else an error.

        :param interval_s: seconds between two calls of ``run_once``.
        """
        self._stop = stop
        while not stop.is_set():
            try:
                self.run_once()
            except StoreUnavailable as error:
                _log.warning("the database is unavailable, the worker tries again in 5 seconds: %s", error)
                stop.wait(_RESTART_DELAY_S)
            except BaseException as error:  # the worker must go on
                raise_if_interrupted(error)
                _log.error("the worker failed, and continues in 5 seconds: %s", describe_error(error))
                stop.wait(_RESTART_DELAY_S)
            stop.wait(interval_s)
        with suppress(StoreUnavailable):  # then the lease ends by itself
            self._release_lease()

    def run_all_due(self) -> JobCounts | None:
        """Run the jobs that are due until none is left; see ``run_once``. Then another worker can continue.

        Return how many attempts succeeded and failed; ``None`` if there was none, because the worker of another process
        runs jobs now. It may also begin later: then the jobs that are left are its own.

        :raises StoreUnavailable: if the database is unavailable.
        """
        total = counts = self._run_round()
        while total is not None and counts is not None and counts != JobCounts():
            counts = self._run_round()
            total = total.plus(counts or JobCounts())
        self._release_lease()
        return total

    def run_once(self) -> int:
        """Run jobs that are due, 500 of each kind at most, and once an hour delete expired rows and run hourly tasks.

        Return how many jobs succeeded; 0 if the worker of another process is the one that runs jobs now.

        :raises StoreUnavailable: if the database is unavailable.
        """
        counts = self._run_round()
        return counts.succeeded if counts else 0

    def _run_round(self) -> JobCounts | None:
        """Do what ``run_once`` does; return ``None`` if the worker of another process is the one that runs jobs now."""
        now = self._clock()
        if not self._acquire_lease(now):
            return None
        if not 0 <= now - self._pruned_at <= _PRUNE_INTERVAL_S:  # below 0: the clock was set back
            self._pruned_at = now
            prune(self._store, now, self._audit_retention_days)
            for run_task in self._hourly_tasks:
                run_isolated("an hourly task", partial(run_task, now))
        run_isolated("deleting expired copies of responses", lambda: _remove_retry_answers(self._store, now))
        # A longer pause: the clock was set back.
        paused = {name: end for name, end in self._paused_until.items() if 0 < end - now <= _RETRY_DELAYS_S[0]}
        self._paused_until = paused
        return self._run_groups(outbox.list_due(self._store, now, paused))

    def _acquire_lease(self, now: float) -> bool:
        """Acquire the lease that lets only one worker run jobs, or renew it when half of its time has passed.

        Return whether this worker has the lease.
        """
        if _LEASE_S / 2 < self._lease_ends_at - now <= _LEASE_S:  # more: the clock was set back
            return True
        if not self._store.write(Transaction(condition=leases.acquire(_LEASE_NAME, self._worker_id, _LEASE_S))):
            return False
        self._lease_ends_at = now + _LEASE_S
        return True

    def _release_lease(self) -> None:
        """End the lease, if this worker has it.

        :raises StoreUnavailable: if the database is unavailable.
        """
        if self._lease_ends_at:
            self._lease_ends_at = 0.0
            self._store.write(Transaction(rows=(leases.release(_LEASE_NAME, self._worker_id),)))

    def _run_groups(self, groups: Mapping[str, Sequence[outbox.Job]]) -> JobCounts:
        """Run groups of jobs in parallel, one group per recipient, so that a slow recipient delays only its own jobs.

        The more groups there are, the less time each has: each runs one job at least.
        """
        if len(groups) < 2:  # without threads
            return reduce(JobCounts.plus, (self._run_group(*group, _ROUND_S) for group in groups.items()), JobCounts())
        timeout_s = _ROUND_S * min(1.0, _MAX_PARALLEL_GROUPS / len(groups))
        with ThreadPoolExecutor(_MAX_PARALLEL_GROUPS, "valetkey-worker") as executor:
            run_group = partial(self._run_group, timeout_s=timeout_s)
            return reduce(JobCounts.plus, executor.map(run_group, groups.keys(), groups.values()), JobCounts())

    def _run_group(self, name: str, jobs: Sequence[outbox.Job], timeout_s: float) -> JobCounts:
        """Run the jobs for one recipient in order until a time limit.

        After a failure, pause the group: no other job of the recipient is run for ten seconds.
        """
        ends_at, succeeded = self._clock() + timeout_s, 0
        for job in jobs:
            if self._stop.is_set() or self._clock() > ends_at:
                break
            has_succeeded = self._run_job(job)
            if not has_succeeded:
                self._paused_until[name] = self._clock() + _RETRY_DELAYS_S[0]
                return JobCounts(succeeded, failed=int(has_succeeded is False))
            succeeded += 1
        return JobCounts(succeeded)

    def _run_job(self, job: outbox.Job) -> bool | None:
        """Run a job. Delete it if it succeeds, else schedule the next attempt or park it.

        Return whether it succeeded; ``None`` if another worker is running it.
        """
        now = self._clock()
        if not self._store.write(Transaction(condition=outbox.acquire(job.job_id, now))):
            return None
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
            raise_if_interrupted(error)
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


def is_worker_active(store: Store, now: float) -> bool:
    """Return whether the worker of some process runs jobs at ``now`` (seconds since 1970)."""
    return leases.is_active(_LEASE_NAME, store, now, _LEASE_S)


def _printable(text: str) -> str:
    """Return a text in one line of 300 characters at most, without characters that a log or database cannot contain."""
    return "".join(character if character.isprintable() else "?" for character in text[:300])


def _remove_retry_answers(store: Store, now: float) -> None:
    store.write(Transaction(rows=(remove_expired_retry_answers(now),)))


def _send_mail(settings: Settings, payload: Mapping[str, Any], _now: float) -> None:
    from .mail import send_mail

    send_mail(settings, payload["to"], payload["subject"], payload["text"])
