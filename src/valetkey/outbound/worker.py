"""The worker: sends what is in the outbox, and prunes. One process leads; the others wait for its lease to end."""

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
_MAX_BATCHES = 200  # of one table at once: a million rows
_MAX_PARALLEL_GROUPS, _GROUP_TIMEOUT_S = 8, 5.0  # lanes at a time; seconds that one may take of a round
_RETRY_DELAYS_S = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)  # seconds until the next attempt

JobHandler = Callable[[Mapping[str, Any]], None]
_log = logging.getLogger("valetkey.worker")


class Worker:
    """Does what is in the outbox: mail, and ``jobs`` by kind, which raise ``FetchProblem`` to be tried again.

    :param hourly: what is done besides, whenever tables are pruned.
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
        """Work until told to stop; a store that is down is waited for."""
        while not stop.is_set():
            try:
                self.run_once()
            except StoreUnavailable as problem:
                _log.warning("waiting for the store: %s", problem)
                stop.wait(5.0)
            stop.wait(interval_s)

    def run_once(self) -> int:
        """One round: the jobs that are due, and once an hour pruning and the like. Answers how many jobs were done."""
        now = self._clock()
        if not self._acquire_lease(now):
            return 0
        if now - self._pruned_at > _PRUNE_INTERVAL_S:
            self._pruned_at = now
            prune(self._store, now)
            for do in self._hourly_tasks:
                do()
        self._store.write(Transaction(rows=(remove_expired_retry_answers(now),)))
        return self._run_groups(_group_by_recipient(outbox.list_due(self._store, now)))

    def _acquire_lease(self, now: float) -> bool:
        if now < self._lease_ends_at - _LEASE_S / 2:
            return True
        if not self._store.write(Transaction(condition=leases.acquire("worker", self._worker_id, now, now + _LEASE_S))):
            return False
        self._lease_ends_at = now + _LEASE_S
        return True

    def _run_groups(self, groups: Sequence[Sequence[outbox.Job]]) -> int:
        """Whoever is slow to receive holds up what is for them, and nobody else."""
        if len(groups) < 2:
            return sum(self._run_group(lane) for lane in groups)
        with ThreadPoolExecutor(_MAX_PARALLEL_GROUPS, "valetkey-worker") as several:
            return sum(several.map(self._run_group_in_thread, groups))

    def _run_group_in_thread(self, jobs: Sequence[outbox.Job]) -> int:
        try:
            return self._run_group(jobs)
        finally:
            self._store.close_reader()

    def _run_group(self, jobs: Sequence[outbox.Job]) -> int:
        """One after the other, for some seconds; after a failure the rest waits, so that other lanes come to the front.

        Answers how many were done.
        """
        ends, done = self._clock() + _GROUP_TIMEOUT_S, 0
        for place, job in enumerate(jobs):
            if self._clock() > ends:
                break
            if self._run_job(job):
                done += 1
            elif place + 1 < len(jobs):
                later = self._clock() + _RETRY_DELAYS_S[0]
                self._store.write(
                    Transaction(rows=tuple(outbox.postpone(one.job_id, later) for one in jobs[place + 1 :]))
                )
                break
        return done

    def _run_job(self, job: outbox.Job) -> bool:
        now = self._clock()
        if not self._store.write(Transaction(condition=outbox.acquire(job.job_id, now, now + _JOB_LEASE_S))):
            return False
        try:
            self._job_handlers[job.kind](job.payload)
        except (MailNotSent, FetchError, KeyError) as problem:
            self._store.write(Transaction(rows=(self._failure_statement(job, repr(problem)),)))
            return False
        self._store.write(Transaction(rows=(outbox.complete(job.job_id),)))
        return True

    def _failure_statement(self, job: outbox.Job, error: str) -> Any:
        _log.warning("%s failed, attempt %d: %s", job.kind, job.attempts + 1, error)
        if job.attempts >= len(_RETRY_DELAYS_S):
            return outbox.mark_failed(job.job_id, self._clock(), error)
        return outbox.schedule_retry(job.job_id, self._clock() + _RETRY_DELAYS_S[job.attempts], error)


def _group_by_recipient(jobs: Iterable[outbox.Job]) -> list[list[outbox.Job]]:
    """The jobs by who receives them, in the order in which they are due."""
    lanes: dict[tuple[str, object], list[outbox.Job]] = {}
    for job in jobs:
        receiver = next((job.payload[name] for name in ("client_id", "to", "owner") if name in job.payload), None)
        lanes.setdefault((job.kind, receiver), []).append(job)
    return list(lanes.values())


def prune(store: Store, now: float) -> dict[str, int]:
    """Remove what is over; the answer is how many rows went from each table."""
    removed: dict[str, int] = {}
    for table, count, remove in prune_statements(now):
        for _ in range(_MAX_BATCHES):  # in pieces, so that others write in between
            (number,) = store.fetch_one(count) or (0,)
            if number:
                store.write(Transaction(rows=(remove,)))
            removed[table] = removed.get(table, 0) + number
            if number < MAX_ROWS_PER_BATCH:
                break
    return removed


def _send_mail(settings: Settings, payload: Mapping[str, Any]) -> None:
    send_mail(settings, payload["to"], payload["subject"], payload["text"])
