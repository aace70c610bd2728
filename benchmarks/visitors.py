"""People who sign in with their passwords at a steady pace while something else is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

from benchmarks.people import sign_in_once
from benchmarks.servers import Server

A_SECOND = 10


@contextmanager
def signing_in(server: Server, accounts: int, *, core: int) -> Iterator[None]:
    """Let ten people a second sign in meanwhile, whether the answers are slow or not.

    :raises AssertionError: where somebody could not sign in.
    """
    enough, visits = Event(), []

    def come(people: ThreadPoolExecutor) -> None:
        begun = time.monotonic()
        for number in count():
            if enough.wait(max(0, begun + number / A_SECOND - time.monotonic())):
                return
            visits.append(people.submit(sign_in_once, server, 1 + number % accounts))

    with ThreadPoolExecutor(4 * A_SECOND, initializer=os.sched_setaffinity, initargs=(0, {core})) as people:
        street = Thread(target=come, args=(people,))
        street.start()
        begun = time.monotonic()
        try:
            yield
        finally:
            due = (time.monotonic() - begun) * A_SECOND
            done = sum(map(Future.done, visits))
            enough.set()
            street.join()
    for visit in visits:
        visit.result()
    if done < due / 2:
        print(f"Only {done} of {due:.0f} people had signed in when the load ended.", flush=True)
