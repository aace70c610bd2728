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
from valetkey.storage.engine.transaction import StoreUnavailable, Write
from valetkey.storage.pruning import PRUNED_AT_ONCE, erase_retry_answers, prune_statements

from .bounds import FetchProblem
from .mail import MailNotSent, send_mail

_LEASE, _PRUNE_EVERY, _TAKEN = 15.0, 3600.0, 60.0
_MOST_BATCHES = 200  # of one table at once: a million rows
_AT_ONCE, _LANE = 8, 5.0  # lanes at a time; seconds that one may take of a round
_RETRIES = (10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)  # seconds until the next attempt

Do = Callable[[Mapping[str, Any]], None]
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
        jobs: Mapping[str, Do] | None = None,
        hourly: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._jobs: dict[str, Do] = {"mail": partial(_send_mail, settings), **(jobs or {})}
        self._hourly = hourly
        self._store = store
        self._clock = clock
        self._name = random_id()
        self._pruned_at = 0.0
        self._leads_until = 0.0

    def run(self, stop: threading.Event, *, each: float = 1.0) -> None:
        """Work until told to stop; a store that is down is waited for."""
        while not stop.is_set():
            try:
                self.step()
            except StoreUnavailable as problem:
                _log.warning("waiting for the store: %s", problem)
                stop.wait(5.0)
            stop.wait(each)

    def step(self) -> int:
        """One round: the jobs that are due, and once an hour pruning and the like. Answers how many jobs were done."""
        now = self._clock()
        if not self._leads(now):
            return 0
        if now - self._pruned_at > _PRUNE_EVERY:
            self._pruned_at = now
            prune(self._store, now)
            for do in self._hourly:
                do()
        self._store.write(Write(rows=(erase_retry_answers(now),)))
        return self._do_all(_lanes(outbox.due(self._store, now)))

    def _leads(self, now: float) -> bool:
        if now < self._leads_until - _LEASE / 2:
            return True
        if not self._store.write(Write(claim=leases.hold("worker", self._name, now, now + _LEASE))):
            return False
        self._leads_until = now + _LEASE
        return True

    def _do_all(self, lanes: Sequence[Sequence[outbox.Job]]) -> int:
        """Whoever is slow to receive holds up what is for them, and nobody else."""
        if len(lanes) < 2:
            return sum(self._do_lane(lane) for lane in lanes)
        with ThreadPoolExecutor(_AT_ONCE, "valetkey-worker") as several:
            return sum(several.map(self._do_lane_apart, lanes))

    def _do_lane_apart(self, lane: Sequence[outbox.Job]) -> int:
        try:
            return self._do_lane(lane)
        finally:
            self._store.close_reader()

    def _do_lane(self, lane: Sequence[outbox.Job]) -> int:
        """One after the other, for some seconds; after a failure the rest waits, so that other lanes come to the front.

        Answers how many were done.
        """
        ends, done = self._clock() + _LANE, 0
        for place, job in enumerate(lane):
            if self._clock() > ends:
                break
            if self._do(job):
                done += 1
            elif place + 1 < len(lane):
                later = self._clock() + _RETRIES[0]
                self._store.write(Write(rows=tuple(outbox.postpone(one.job_id, later) for one in lane[place + 1 :])))
                break
        return done

    def _do(self, job: outbox.Job) -> bool:
        now = self._clock()
        if not self._store.write(Write(claim=outbox.take(job.job_id, now, now + _TAKEN))):
            return False
        try:
            self._jobs[job.kind](job.payload)
        except (MailNotSent, FetchProblem, KeyError) as problem:
            self._store.write(Write(rows=(self._after_failure(job, repr(problem)),)))
            return False
        self._store.write(Write(rows=(outbox.done(job.job_id),)))
        return True

    def _after_failure(self, job: outbox.Job, problem: str) -> Any:
        _log.warning("%s failed, attempt %d: %s", job.kind, job.attempts + 1, problem)
        if job.attempts >= len(_RETRIES):
            return outbox.give_up(job.job_id, self._clock(), problem)
        return outbox.later(job.job_id, self._clock() + _RETRIES[job.attempts], problem)


def _lanes(jobs: Iterable[outbox.Job]) -> list[list[outbox.Job]]:
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
        for _ in range(_MOST_BATCHES):  # in pieces, so that others write in between
            (number,) = store.one(count) or (0,)
            if number:
                store.write(Write(rows=(remove,)))
            removed[table] = removed.get(table, 0) + number
            if number < PRUNED_AT_ONCE:
                break
    return removed


def _send_mail(settings: Settings, payload: Mapping[str, Any]) -> None:
    send_mail(settings, payload["to"], payload["subject"], payload["text"])
