"""Rate limit counters in a file that all processes of one machine map into their memory.

A call costs some microseconds, where a statement of a database costs 80. Counts are exact if a process is killed at any
point. After a power failure, budgets may start afresh.

The file has a header and a fixed number of buckets. A bucket has 20 slots; a slot is the digest of a counter's key and
the counter's value, its theoretical arrival time (TAT). A slot whose budget is full again is free, so nothing needs to
be deleted. If all slots of a bucket are in use, its further counters are stored in a SQLite file.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import threading
from hashlib import blake2b
from pathlib import Path

from valetkey.rate_limiting.limit import MAX_CLOCK_OFFSET_S, MAX_LEASE_AHEAD_S
from valetkey.storage.engine.after_fork import call_after_fork
from valetkey.storage.engine.files import new_private_file, place_new_file

from .byte_lock import lock_byte, unlock_byte
from .counters import Counters, CountersUnavailable, SpendResult

_HEADER, _HEADER_SIZE = b"valetkey rate limit counters 2\n", 4096
_BUCKETS, _SLOTS = 16_384, 20
_DIGEST_SIZE, _SLOT_SIZE = 16, 24
# A bucket begins with the time until which it has counters in the SQLite file, and 8 unused bytes. It is in one page.
_UNUSED, _FIRST_SLOT, _BUCKET_SIZE = 8, 16, 512
_FILE_SIZE = _HEADER_SIZE + _BUCKETS * _BUCKET_SIZE
_TAT, _TATS = struct.Struct("<d"), struct.Struct("<" + _SLOTS * f"{_DIGEST_SIZE}xd")
_NO_DIGEST = bytes(_DIGEST_SIZE)
_MAX_PLACES = 20_000
_THREAD_LOCKS = 251  # prime, so that buckets are spread over all of them


class MappedCounters(Counters):
    """Rate limit counters in a file of 8 MB that all processes of one machine map into their memory.

    The file is created when the first call is counted. It is thread-safe and fork-safe.

    :param path: path of the file, on a local disk.
    :param overflow: the counters to use for a bucket whose slots are all in use.
    """

    def __init__(self, path: Path, overflow: Counters) -> None:
        self._path = path
        self._overflow = overflow
        self._file = -1
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        # A forked child must open the file again: it would share its locks with the parent.
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._map: mmap.mmap | None = None
        self._places: dict[str, tuple[int, bytes]] = {}
        self._open_lock = threading.Lock()
        # The lock of a file keeps other processes out of a bucket; these keep out other threads.
        self._thread_locks = [threading.Lock() for _ in range(_THREAD_LOCKS)]

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        memory = self._map or self._open()
        bucket, digest = self._places.get(key) or self._find_place(memory, key)
        with self._thread_locks[bucket % _THREAD_LOCKS]:
            lock_byte(self._file, bucket, self._path)
            try:
                slot = _find_slot(memory, bucket, digest)
                if slot is None and _read_overflow_end(memory, bucket) > min_tat - 2 * MAX_LEASE_AHEAD_S:
                    return self._spend_in_overflow(memory, bucket, key, min_tat, cost_s, max_tat)
                tat = min_tat if slot is None else _read_tat(memory, slot)
                if not min_tat <= tat <= max_tat + MAX_CLOCK_OFFSET_S:
                    tat = min_tat
                new_tat = tat + cost_s
                if new_tat > max_tat:
                    return False, tat
                if slot is not None:
                    _TAT.pack_into(memory, slot + _DIGEST_SIZE, new_tat)
                elif (free_slot := _find_free_slot(memory, bucket, min_tat)) is not None:
                    _fill_slot(memory, free_slot, digest, new_tat)
                else:
                    return self._spend_in_overflow(memory, bucket, key, min_tat, cost_s, max_tat)
                return True, new_tat
            finally:
                unlock_byte(self._file, bucket)

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        memory = self._map or self._open()
        bucket, digest = self._find_place(memory, key)
        with self._thread_locks[bucket % _THREAD_LOCKS]:
            lock_byte(self._file, bucket, self._path)
            try:
                slot = _find_slot(memory, bucket, digest)
                if slot is None:
                    return self._may_have_overflow(memory, bucket) and self._overflow.refund(key, cost_s, expected_tat)
                tat = _read_tat(memory, slot)
                if expected_tat not in {None, tat}:
                    return False
                _TAT.pack_into(memory, slot + _DIGEST_SIZE, tat - cost_s)
                return True
            finally:
                unlock_byte(self._file, bucket)

    def read(self, key: str, default: float) -> float:
        memory = self._map or self._open()
        bucket, digest = self._find_place(memory, key)
        slot = _find_slot(memory, bucket, digest)
        if slot is not None:
            return _read_tat(memory, slot)
        return self._overflow.read(key, default) if self._may_have_overflow(memory, bucket) else default

    def prune(self, now: float) -> None:
        """Delete the counters in the SQLite file whose budget is full again; slots are reused without it."""
        self._open()
        with self._path.open("rb") as file:  # not the map: each page of it that is used counts as this process's memory
            # Without read-ahead, which makes large blocks of the page cache: using a page would map its whole block.
            with contextlib.suppress(OSError):  # not every file system and sandbox allows it
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            file.seek(_HEADER_SIZE)
            if any(_TAT.unpack_from(file.read(_BUCKET_SIZE))[0] > 0.0 for _ in range(_BUCKETS)):
                self._overflow.prune(now)

    def close(self) -> None:
        with self._open_lock:
            if self._map is not None:
                self._map.close()
                os.close(self._file)
                self._map, self._file = None, -1
        self._overflow.close()

    def _find_place(self, memory: mmap.mmap, key: str) -> tuple[int, bytes]:
        """Return the offset of the bucket of a key in the file, and the key's digest."""
        place = self._places.get(key)
        if place is None:
            digest = blake2b(key.encode(), digest_size=_DIGEST_SIZE).digest()
            if len(self._places) >= _MAX_PLACES:
                self._places = {}
            place = self._places[key] = (_offset(int.from_bytes(digest[:4], "little") % _BUCKETS), digest)
            # The first use of a page by a read would make Linux map up to a hundred pages around it as well.
            memory[place[0] + _UNUSED] = 0
        return place

    def _may_have_overflow(self, memory: mmap.mmap, bucket: int) -> bool:
        return _read_overflow_end(memory, bucket) > 0.0

    def _spend_in_overflow(
        self, memory: mmap.mmap, bucket: int, key: str, min_tat: float, cost_s: float, max_tat: float
    ) -> SpendResult:
        """Count a call in the SQLite file, and store in the bucket until when this file must be used."""
        _TAT.pack_into(memory, bucket, max(_read_overflow_end(memory, bucket), max_tat))
        return self._overflow.spend(key, min_tat, cost_s, max_tat)

    def _open(self) -> mmap.mmap:
        """Open the file and return it, mapped into memory; create it if it is missing.

        :raises CountersUnavailable: if the file cannot be created or opened, or is not a file of counters.
        """
        with self._open_lock:
            if self._map is None:
                try:
                    _create_if_missing(self._path)
                    file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        mapped = mmap.mmap(file, _FILE_SIZE)
                    except BaseException:
                        os.close(file)
                        raise
                except (OSError, ValueError) as cause:
                    raise CountersUnavailable(
                        f"the rate limit counters in {self._path} cannot be opened ({cause}): the folder must be "
                        f"writable and have {_FILE_SIZE // 1_000_000} MB of free space"
                    ) from cause
                if mapped[: len(_HEADER)] != _HEADER:
                    mapped.close()
                    os.close(file)
                    raise CountersUnavailable(f"{self._path} is not a file of rate limit counters: remove it")
                self._file, self._map = file, mapped
            return self._map


def _create_if_missing(path: Path) -> None:
    """Create the file, with all of its space reserved: writing to a mapped file on a full disk would end the process.

    :raises OSError: if it cannot be created.
    """
    if path.exists():
        return
    with new_private_file(path, _write_empty_counters) as file, contextlib.suppress(FileExistsError):
        place_new_file(file, path)  # another process may have created it meanwhile


def _write_empty_counters(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, _FILE_SIZE)
    except OSError as refused:  # not every file system and sandbox allows it
        if refused.errno == errno.ENOSPC:
            raise
        with open(descriptor, "wb", closefd=False) as content:
            content.write(bytes(_FILE_SIZE))
    os.pwrite(descriptor, _HEADER, 0)


def _offset(bucket_number: int) -> int:
    return _HEADER_SIZE + bucket_number * _BUCKET_SIZE


def _find_slot(memory: mmap.mmap, bucket: int, digest: bytes) -> int | None:
    """Return the offset of the slot with this digest in the file, or ``None`` if the bucket has no such slot."""
    first = bucket + _FIRST_SLOT
    start = first
    while (found := memory.find(digest, start, bucket + _BUCKET_SIZE)) >= 0:
        if (found - first) % _SLOT_SIZE == 0:
            return found
        start = found + 1
    return None


def _find_free_slot(memory: mmap.mmap, bucket: int, min_tat: float) -> int | None:
    """Return the offset of a slot that is empty or whose budget is full again, or ``None`` if there is none.

    :param min_tat: the time of the call, or up to ``MAX_LEASE_AHEAD_S`` later.
    """
    latest = min_tat - 2 * MAX_LEASE_AHEAD_S
    for number, tat in enumerate(_TATS.unpack_from(memory, bucket + _FIRST_SLOT)):
        if tat <= latest:
            return bucket + _FIRST_SLOT + number * _SLOT_SIZE
    return None


def _fill_slot(memory: mmap.mmap, slot: int, digest: bytes, tat: float) -> None:
    """Write a counter to a free slot, so that a process that is killed meanwhile leaves no wrong value for any key."""
    memory[slot : slot + _DIGEST_SIZE] = _NO_DIGEST
    _TAT.pack_into(memory, slot + _DIGEST_SIZE, tat)
    memory[slot : slot + _DIGEST_SIZE] = digest


def _read_tat(memory: mmap.mmap, slot: int) -> float:
    tat: float = _TAT.unpack_from(memory, slot + _DIGEST_SIZE)[0]
    return tat


def _read_overflow_end(memory: mmap.mmap, bucket: int) -> float:
    """Return the time until which the bucket has counters in the SQLite file; 0 if it never had one."""
    ends_at: float = _TAT.unpack_from(memory, bucket)[0]
    return ends_at
