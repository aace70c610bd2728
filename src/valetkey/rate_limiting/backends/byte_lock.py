"""Lock on one byte of a file, which keeps other processes out: an open file description lock, see fcntl(2).

The system releases it when the process ends. Threads of one process share it, and a forked child shares it with its
parent until it opens the file again.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
import time
from pathlib import Path

from .counters import CountersUnavailable

_REQUEST = struct.Struct("hhqqi4x")  # struct flock, see fcntl(2): type, whence, start, length, pid
_TIMEOUT_S, _RETRY_S = 2.0, 0.0002
# ``fcntl.fcntl`` lets other threads run Python meanwhile: with 16 busy threads, a call would wait for the others twice.
# A PyDLL does not; the lock request never waits.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.fcntl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p)


def can_lock_bytes() -> bool:
    """Return whether this system has these locks: 64-bit Linux has them, but some sandboxes refuse them."""
    if sys.maxsize <= 2**32 or not hasattr(fcntl, "F_OFD_SETLK") or not hasattr(os, "memfd_create"):
        return False
    try:
        file = os.memfd_create("valetkey")
    except OSError:
        return False
    try:
        return _try_lock(file, _REQUEST.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except OSError:
        return False
    finally:
        os.close(file)


def lock_byte(file: int, offset: int, path: Path) -> None:
    """Keep other processes from locking a byte until ``unlock_byte`` is called or this process ends.

    :param file: file descriptor.
    :param path: path of the file, for error messages.
    :raises CountersUnavailable: if another process has locked the byte for two seconds, or the file system has no
        locks.
    """
    request = _REQUEST.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    try:
        if _try_lock(file, request):
            return
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            time.sleep(_RETRY_S)
            if _try_lock(file, request):
                return
    except OSError as cause:
        raise CountersUnavailable(f"{path} cannot be locked ({cause}): it must be on a local disk") from cause
    raise CountersUnavailable(f"another process has locked a counter in {path} for {_TIMEOUT_S:g} s: is it paused?")


def unlock_byte(file: int, offset: int) -> None:
    """Release the lock of ``lock_byte``.

    :raises CountersUnavailable: if the system refuses it.
    """
    if not _try_lock(file, _REQUEST.pack(fcntl.F_UNLCK, os.SEEK_SET, offset, 1, 0)):
        raise CountersUnavailable("a rate limit counter cannot be unlocked")


def _try_lock(file: int, request: bytes) -> bool:
    if _libc.fcntl(file, fcntl.F_OFD_SETLK, request) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EAGAIN, errno.EACCES}:  # another process has the lock
        return False
    raise OSError(number, os.strerror(number))
