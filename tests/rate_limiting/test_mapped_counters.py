"""Counters in a memory-mapped file: more callers than slots, forks, paused processes, full disks, foreign files."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from valetkey.rate_limiting.backends import byte_lock, mapped_counters
from valetkey.rate_limiting.backends.counters import CountersUnavailable
from valetkey.rate_limiting.backends.mapped_counters import MappedCounters
from valetkey.rate_limiting.backends.sql_counters import SqliteCounters, open_local_counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter

START = 1_900_000_000.0
TEN = Limit(10, 60, 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limits"


def open_counters(path: Path) -> MappedCounters:
    return MappedCounters(path, SqliteCounters(path.with_suffix(".db")))


def spend_all(limiter: Limiter, keys: list[str], now: float) -> list[int]:
    """Call with each key until it is refused, and return how often each was admitted."""
    admitted = [0] * len(keys)
    for _ in range(12):
        for number, key in enumerate(keys):
            admitted[number] += limiter.spend(key, TEN, now).is_admitted
    return admitted


def test_more_callers_than_slots_are_counted_exactly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_counters, "_BUCKETS", 1)
    keys = [f"caller {number}" for number in range(40)]

    assert spend_all(Limiter(open_counters(path)), keys, START) == [10] * 40
    assert spend_all(Limiter(open_counters(path)), keys, START + 1) == [0] * 40
    assert spend_all(Limiter(open_counters(path)), keys, START + 6.1) == [1] * 40


def test_callers_that_did_not_fit_get_slots_when_others_are_full_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_counters, "_BUCKETS", 1)
    keys = [f"caller {number}" for number in range(40)]
    spend_all(Limiter(open_counters(path)), keys[:20], START)
    spend_all(Limiter(open_counters(path)), keys[20:24], START + 30)

    assert spend_all(Limiter(open_counters(path)), keys[20:24], START + 64) == [5] * 4, "not a new budget in a slot"
    assert spend_all(Limiter(open_counters(path)), keys[20:36], START + 300) == [10] * 16
    counters = open_counters(path)
    counters.prune(START + 400)
    assert [counters._overflow.read(key, 0.0) for key in keys] == [0.0] * 40


def test_a_refused_call_and_a_refund_reach_a_counter_without_a_slot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_counters, "_BUCKETS", 1)
    counters = open_counters(path)
    for number in range(21):
        counters.spend(f"caller {number}", START, 6.0, START + 60)

    assert counters.read("caller 20", 0.0) == START + 6
    assert counters.refund("caller 20", 6.0, START + 6)
    assert counters.read("caller 20", 0.0) == START
    assert not counters.refund("caller 99", 6.0, None)


def test_the_file_is_private_and_keeps_counters_across_a_restart(path: Path) -> None:
    counters = open_local_counters(path.with_suffix(".db"))
    counters.spend("caller", START, 6.0, START + 60)
    counters.close()

    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_suffix(".db").exists(), "the SQLite file is created only if it is needed"
    assert open_counters(path).read("caller", 0.0) == START + 6


def test_a_forked_process_and_its_parent_share_budgets_but_no_locks(path: Path) -> None:
    program = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from types import ModuleType
from tests.rate_limiting.test_mapped_counters import START, open_counters
counters = open_counters(Path({str(path)!r}))
counters.spend("caller", START, 2**-9, START + 60)
children = []
for _ in range(4):
    if not (child := os.fork()):
        for _ in range(2500):
            counters.spend("caller", START, 2**-9, START + 60)
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
print((counters.read("caller", 0.0) - START) * 2**9)
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert printed.stdout.strip() == "10001.0"


def test_threads_share_a_budget(path: Path) -> None:
    counters = open_counters(path)
    threads = [
        threading.Thread(target=lambda: [counters.spend("caller", START, 2**-9, START + 60) for _ in range(1000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counters.read("caller", 0.0) == START + 8000 * 2**-9


def test_a_counter_that_a_paused_process_has_locked_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_lock, "_TIMEOUT_S", 0.05)
    counters = open_counters(path)
    counters.spend("caller", START, 6.0, START + 60)
    bucket, _ = counters._find_place(counters._open(), "caller")
    with path.open("r+b") as other:
        request = byte_lock._REQUEST.pack(fcntl.F_WRLCK, os.SEEK_SET, bucket, 1, 0)
        fcntl.fcntl(other, fcntl.F_OFD_SETLK, request)
        with pytest.raises(CountersUnavailable, match="paused"):
            counters.spend("caller", START, 6.0, START + 60)

    assert counters.spend("caller", START, 6.0, START + 60) == (True, START + 12)


def test_a_full_disk_is_reported_and_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(CountersUnavailable, match="free space"):
        open_counters(path).spend("caller", START, 6.0, START + 60)

    assert list(path.parent.iterdir()) == []


def test_counters_do_not_need_what_a_file_system_or_sandbox_may_refuse(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    counters = open_counters(path)

    assert [counters.spend("caller", START, 6.0, START + 10)[0] for _ in range(2)] == [True, False]
    counters.prune(START)

    assert path.stat().st_blocks * 512 >= 8_000_000, "the space is reserved"
    counters.close()


def test_counters_are_in_the_sqlite_file_if_the_system_refuses_the_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    assert byte_lock.can_lock_bytes()
    monkeypatch.setattr(byte_lock, "_try_lock", refuse)

    counters = open_local_counters(path.with_suffix(".db"))

    assert [counters.spend("caller", START, 6.0, START + 10)[0] for _ in range(2)] == [True, False]
    counters.close()


@pytest.mark.parametrize(("module", "name"), [(fcntl, "F_OFD_SETLK"), (os, "memfd_create")])
def test_a_system_without_these_locks_does_not_use_them(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    monkeypatch.delattr(module, name)

    assert not byte_lock.can_lock_bytes()


@pytest.mark.parametrize("content", [b"", b"another file", b"x" * 30_000_000])
def test_a_file_of_another_kind_is_reported_and_not_changed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CountersUnavailable, match=r"cannot be opened|is not a file of rate limit counters"):
        open_counters(path).spend("caller", START, 6.0, START + 60)

    assert path.read_bytes() == content
