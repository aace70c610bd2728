"""Processes that are forked after the store was used, such as the workers of gunicorn with ``--preload``."""

from __future__ import annotations

import subprocess
import sys

from tests.support.database import fetch_rows

PROGRAM = """
import os
import signal
import sys
import threading
import time
from sqlalchemy import text
from valetkey.storage import leases
from valetkey.storage.engine import store as store_module
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

signal.alarm(50)
store = open_store(sys.argv[1])
READ = Statement(text("SELECT name FROM valetkey_leases"))()


def write(name):
    return store.write(Transaction(condition=leases.acquire(name, "holder", 5000.0)))


def fork(work):
    sys.stdout.flush()
    if child := os.fork():
        return child
    signal.alarm(20)  # ends the child if it waits for a lock
    work()
    sys.stdout.flush()
    os._exit(0)


def wait(child):
    assert os.waitpid(child, 0)[1] == 0


write("parent")
"""
FORK_WHILE_THREADS_USE_THE_STORE = """
stop = threading.Event()
errors = []


def use(call):
    while not stop.is_set():
        try:
            call()
        except StoreUnavailable as error:
            errors.append(error)


calls = [lambda: write("thread")] * 2 + [lambda: store.fetch_all(READ)] * 2
threads = [threading.Thread(target=use, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
children = []
for number in range(10):
    time.sleep(0.02)
    children.append(fork(lambda: write(f"child {number}")))
for child in children:
    wait(child)
stop.set()
for thread in threads:
    thread.join()
print(errors)
"""
WRITE_AFTER_THE_END_OF_THE_PARENT = """
reader, writer = os.pipe()


def write_later():
    write("first")
    os.read(reader, 1)
    write("second")


child = fork(write_later)
time.sleep(0.5)
store.close()  # the last user of the database, as far as it knows, deletes the write-ahead log
os.write(writer, b"x")
wait(child)
"""
FORK_IN_A_TRANSACTION = """
store_module._FORK_TIMEOUT_S = 0.2
is_in_transaction, may_end = threading.Event(), threading.Event()


def block():
    is_in_transaction.set()
    may_end.wait(10)
    return time.time()


def try_to_use():
    for use in (lambda: write("child"), lambda: store.fetch_all(READ)):
        try:
            use()
        except StoreUnavailable as error:
            print(error)


store.clock = block
thread = threading.Thread(target=write, args=("slow",))
thread.start()
is_in_transaction.wait(10)
child = fork(try_to_use)
may_end.set()
thread.join()
wait(child)
store.clock = time.time
wait(fork(lambda: print(write("next child"))))
print(write("parent"))
"""


def run_program(program: str, store_url: str) -> tuple[str, str]:
    """Run a program in a process of its own, since a fork of the test's process would have its threads' locks.

    :returns: its standard output and standard error.
    """
    command = [sys.executable, "-c", PROGRAM + program, store_url]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, finished.stderr


def lease_names(store_url: str) -> set[str]:
    return {name for (name,) in fetch_rows(store_url, "SELECT name FROM valetkey_leases")}


def test_a_child_can_write_if_threads_of_its_parent_used_the_store_at_the_fork(store_url: str) -> None:
    assert run_program(FORK_WHILE_THREADS_USE_THE_STORE, store_url)[0] == "[]\n"

    assert {f"child {number}" for number in range(10)} <= lease_names(store_url)


def test_what_a_child_writes_after_its_parent_closed_the_database_is_not_lost(store_url: str) -> None:
    run_program(WRITE_AFTER_THE_END_OF_THE_PARENT, store_url)

    assert {"first", "second"} <= lease_names(store_url)


def test_a_child_refuses_to_use_a_sqlite_database_that_its_parent_could_not_close(sqlite_store_url: str) -> None:
    output, log = run_program(FORK_IN_A_TRANSACTION, sqlite_store_url)

    first_write, first_read, next_child, parent = output.splitlines()
    assert "start this process again" in first_write
    assert "start this process again" in first_read
    assert (next_child, parent) == ("True", "True")
    assert "the process was forked while a thread used the SQLite database" in log
    assert "child" not in lease_names(sqlite_store_url)
