"""CPU time and memory of this run's processes, and of the machine's other processes."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class OtherProcesses:
    """Measures how busy programs outside this run are, from the creation of the object."""

    def __init__(self) -> None:
        self._total, self._idle = _machine_ticks()
        self._own = _own_ticks()

    def cpu_share(self) -> float:
        """Return the share of all cores that other programs used, from 0 to 1."""
        total, idle = _machine_ticks()
        elapsed = total - self._total
        used = elapsed - (idle - self._idle) - (_own_ticks() - self._own)
        return max(0.0, used / elapsed) if elapsed else 0.0


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes that a process started, and that those started."""
    children: list[int] = []
    with suppress(OSError):  # the process has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return children + [descendant for child in children for descendant in descendants(child)]


def largest_descendant_mb(pid: int) -> float:
    """Return the resident memory, in MB, of the largest process that a process started."""
    return max(map(_resident_bytes, descendants(pid) or [pid])) / 1e6


def _own_ticks() -> float:
    """Return the ticks used by this process and by all that it started, whether they run or have ended."""
    own, ended = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(map(_process_ticks, descendants(os.getpid())))
    return (own.user + own.system + ended.ru_utime + ended.ru_stime) * TICKS_PER_SECOND + running


def _process_ticks(pid: int) -> int:
    with suppress(OSError):  # the process has ended
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_name[11]) + int(after_name[12])
    return 0


def _machine_ticks() -> tuple[int, int]:
    """Return all ticks of all cores, and those in which a core was idle or waited for a disk."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def _resident_bytes(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status.get("VmRSS", "0 kB").split()[0]) * 1024
