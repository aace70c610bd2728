"""Users who sign in with their passwords at a steady rate while something else is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

from benchmarks.servers import Server

SIGN_INS_PER_SECOND = 10


@contextmanager
def sign_in_continuously(
    sign_in: Callable[[Server, int], None], server: Server, accounts: int, *, core: int
) -> Iterator[None]:
    """Start ten sign-ins per second within the ``with`` block, even if the server responds slowly.

    :param sign_in: signs in once, as the account with this number.
    :param accounts: number of accounts, which sign in by turns.
    :param core: CPU core of the browsers.
    :raises AssertionError: if a sign-in fails.
    """
    stop, sign_ins = Event(), []

    def start_sign_ins(pool: ThreadPoolExecutor) -> None:
        started_at = time.monotonic()
        for number in count():
            if stop.wait(max(0, started_at + number / SIGN_INS_PER_SECOND - time.monotonic())):
                return
            sign_ins.append(pool.submit(sign_in, server, 1 + number % accounts))

    with ThreadPoolExecutor(4 * SIGN_INS_PER_SECOND, initializer=os.sched_setaffinity, initargs=(0, {core})) as pool:
        starter = Thread(target=start_sign_ins, args=(pool,))
        starter.start()
        started_at = time.monotonic()
        try:
            yield
        finally:
            due = (time.monotonic() - started_at) * SIGN_INS_PER_SECOND
            done = sum(map(Future.done, sign_ins))
            stop.set()
            starter.join()
    for finished in sign_ins:
        finished.result()
    if done < due / 2:
        print(f"Only {done} of {due:.0f} sign-ins had finished when the load ended.", flush=True)
