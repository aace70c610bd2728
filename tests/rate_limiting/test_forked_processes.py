"""Processes that are forked after calls were counted, such as the workers of gunicorn with ``--preload``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from valetkey.storage import audit, usage
from valetkey.storage.engine.open import open_store

PROGRAM = f"""
import os
import signal
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.support.access_tokens import access_token_of
from tests.support.clock import NOW
from valetkey.activity.background import BackgroundThread
from valetkey.activity.failures import FailureBuffer
from valetkey.activity.usage import UsageBuffer
from valetkey.caches.change_feed import ChangeFeed
from valetkey.rate_limiting.backends.sql_counters import open_local_counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.quota import Quota
from valetkey.rate_limiting.quota_counter import Quotas
from valetkey.storage.engine.open import open_store

TOKEN = access_token_of("app")
limit, quota = Limit(6000, 60, 600), Quota(1000, "month")
store, background = open_store(sys.argv[1]), BackgroundThread()
limiter = Limiter(open_local_counters(Path(sys.argv[2])))
quotas = Quotas(store, lambda: NOW)
usage, failures = UsageBuffer(store, background), FailureBuffer(store, background)
feed = ChangeFeed(store)
background.ensure_running = lambda: None


def spend():
    return limiter.spend("caller", limit, NOW).is_admitted, quotas.spend("app", quota, NOW).is_admitted


def fork_and_print(work):
    sys.stdout.flush()
    if not (child := os.fork()):
        signal.alarm(20)  # ends the child if it waits for a lock
        work()
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
SPEND_EVERYTHING = """
for _ in range(60):
    spend()


def spend_the_rest():
    has_lease = limiter.spend_lease("caller", limit, NOW) is not None
    print(has_lease, sum(quotas.spend("app", quota, NOW).is_admitted for _ in range(2000)))


fork_and_print(spend_the_rest)
spend_the_rest()
"""
COUNT = """
usage.record(TOKEN, "GET", "/api/any", "200", NOW)
failures.record("sign_in.failed", NOW, network="192.0.2.1")
fork_and_print(lambda: [usage.flush(), failures.flush(), quotas.return_all_slices()])
usage.flush()
failures.flush()
"""
START_THREAD = """
del background.ensure_running
usage.record(TOKEN, "GET", "/api/any", "200", NOW)


def record():
    usage.record(TOKEN, "GET", "/api/any", "200", NOW)
    print(background._thread.is_alive())


fork_and_print(record)
"""
LOCK = """
spend()
usage.record(TOKEN, "GET", "/api/any", "200", NOW)
for owner in (usage, failures, feed):
    owner._lock.acquire()
for state in (limiter._keys["caller"], quotas._slices["app", "month"]):
    state.lock.acquire()


def use_everything():
    print(spend())
    usage.record(TOKEN, "GET", "/api/any", "200", NOW)
    failures.record("sign_in.failed", NOW, network="192.0.2.1")
    feed.refresh()


fork_and_print(use_everything)
"""
LOCK_EVERYTHING_ELSE = """
import flask
from valetkey.accounts import password
from valetkey.caches.origins import OriginCache
from valetkey.storage.engine.circuit_breaker import CircuitBreaker
from valetkey.web.health import Readiness


class NoChecks(Readiness):
    def check(self):
        return {"fine": "ok"}


breaker, readiness, origins = CircuitBreaker("the backend"), NoChecks(flask.Flask("shop")), OriginCache(store, feed)
breaker.trip()
breaker.retry_at = 0.0
password._hash_lock.acquire()
for lock in (breaker._lock, readiness._lock, origins._update_lock, background._start_lock):
    lock.acquire()


def use_everything():
    breaker.check()
    print(len(password.hash_password("a long password")) > 0, readiness.read()["fine"])
    origins._update_lock.acquire()
    background._start_lock.acquire()


fork_and_print(use_everything)
"""


def run_program(program: str, store_url: str, folder: Path) -> list[str]:
    """Run a program in a process of its own, since a fork of the test's process would have its threads' locks."""
    command = [sys.executable, "-c", PROGRAM + program, store_url, str(folder / "limits.db")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_a_forked_child_spends_neither_the_leases_nor_the_reserved_quota_of_its_parent(
    store_url: str, tmp_path: Path
) -> None:
    child, parent = (line.split() for line in run_program(SPEND_EVERYTHING, store_url, tmp_path))

    assert (child[0], parent[0]) == ("False", "True"), "whether it has a lease"
    assert 60 + int(child[1]) + int(parent[1]) == 1000


def test_what_the_parent_counted_is_written_once(sqlite_store_url: str, tmp_path: Path) -> None:
    run_program(COUNT, sqlite_store_url, tmp_path)

    store = open_store(sqlite_store_url)
    assert [row.calls for row in usage.list_between(store, 0, 2e9, "app")] == [1]
    assert [entry.row.count for entry in audit.list_counted(store, 0, 10)] == [1]
    store.close()


def test_locks_that_another_thread_held_at_the_fork_are_free_in_the_child(
    sqlite_store_url: str, tmp_path: Path
) -> None:
    assert run_program(LOCK, sqlite_store_url, tmp_path) == ["(True, True)"]
    assert run_program(LOCK_EVERYTHING_ELSE, sqlite_store_url, tmp_path) == ["True ok"]


def test_a_forked_process_starts_its_own_background_thread(sqlite_store_url: str, tmp_path: Path) -> None:
    assert run_program(START_THREAD, sqlite_store_url, tmp_path) == ["True"]
