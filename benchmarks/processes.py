"""The machine's processes: which are ours, what they hold, and how busy the others are."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Others:
    """How busy programs that are not of this run have been since this was made."""

    def __init__(self) -> None:
        self._all, self._idle = _ticks()
        self._ours = _ours()

    def share(self) -> float:
        """Answer the share of all cores that they used."""
        everything, idle = _ticks()
        passed = everything - self._all
        used = passed - (idle - self._idle) - (_ours() - self._ours)
        return max(0.0, used / passed) if passed else 0.0


def descendants(pid: int) -> list[int]:
    """Answer all processes that this one started, and those that they started."""
    children: list[int] = []
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return children + [deeper for child in children for deeper in descendants(child)]


def largest_below(pid: int) -> float:
    """Answer the resident memory, in MB, of the largest process that this one started."""
    return max(map(_resident, descendants(pid) or [pid])) / 1e6


def _ours() -> float:
    """Ticks used by this process and those it started: they run, or they have ended and been waited for."""
    own, ended = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = sum(map(_used, descendants(os.getpid())))
    return (own.user + own.system + ended.ru_utime + ended.ru_stime) * TICK + alive


def _used(pid: int) -> int:
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[11]) + int(after_name[12])
    return 0


def _ticks() -> tuple[int, int]:
    """All ticks of all cores, and those in which a core was idle or waited for a disk."""
    numbers = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


def _resident(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status.get("VmRSS", "0 kB").split()[0]) * 1024
