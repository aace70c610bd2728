"""A lock that shows whether a process uses a SQLite database: users hold it shared, a restore holds it exclusively.

It is a lock of the kernel (``flock``) on a file beside the database: it ends with the process that holds it, also if
that process is killed, and forked workers hold it too. SQLite's own locks do not suffice, since a restore replaces the
file that they are on.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .files import open_lock_file, resolve_links
from .transaction import StoreBusy, StoreUnavailable

_TIMEOUT_S = 2.0  # a restore holds the lock much longer only while it copies


class UseLock:
    """The shared lock of one user of a database. It is released with ``release`` or at the end of the process.

    :param database: path of the database file.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptors: list[int] = []  # two if two threads acquire it at once
        weakref.finalize(self, _close_all, self._descriptors)

    def acquire(self) -> None:
        """Acquire the lock, unless this object holds it.

        :raises StoreBusy: if the database is being restored.
        :raises StoreUnavailable: if the lock file cannot be created.
        """
        if not self._descriptors:
            self._descriptors.append(_open_locked(self._database, fcntl.LOCK_SH, _TIMEOUT_S))

    def release(self) -> None:
        """Release the lock; it can be acquired again."""
        _close_all(self._descriptors)


@contextmanager
def used_database(database: Path) -> Iterator[None]:
    """Context manager in which this process uses a database, so that it is not restored meanwhile.

    :raises StoreUnavailable: as ``UseLock.acquire`` does.
    """
    lock = UseLock(database)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def unused_database(database: Path) -> Iterator[None]:
    """Context manager in which no process uses a database: its users hold the lock, and new ones wait.

    :raises StoreBusy: if a process uses the database.
    :raises StoreUnavailable: if the lock file cannot be created.
    """
    descriptor = _open_locked(database, fcntl.LOCK_EX, 0.0)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock(database: Path) -> Iterator[None]:
    """Context manager that one process at a time enters: to upgrade a SQLite database, or to close it.

    :raises OSError: if the lock file cannot be created.
    """
    database = resolve_links(database)
    file = database.with_name(f"{database.name}.lock")
    descriptor = open_lock_file(file, database)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_locked(database: Path, operation: int, timeout_s: float) -> int:
    """Return a file descriptor that holds the lock; closing it releases the lock.

    :param operation: ``LOCK_SH`` or ``LOCK_EX``.
    """
    target = resolve_links(database)
    file = target.with_name(f"{target.name}.use.lock")
    try:
        descriptor = open_lock_file(file, target)
    except OSError as cause:
        raise StoreUnavailable(
            f"the database {database} cannot be written: check the folder's permissions and free space "
            f"({file.name}: {cause.strerror})"
        ) from cause
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError as cause:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise StoreBusy(_busy_message(database, operation)) from cause
            time.sleep(0.02)
        except OSError as cause:
            os.close(descriptor)
            raise StoreUnavailable(f"the folder of {database} does not support locks: {cause.strerror}") from cause


def _busy_message(database: Path, operation: int) -> str:
    if operation == fcntl.LOCK_SH:
        return f"the database {database} is being restored"
    return f"a server or another process uses the database {database}: stop it first"


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
