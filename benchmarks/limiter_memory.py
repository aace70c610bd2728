"""Memory that the rate limiter needs for a million callers: ``python -m benchmarks.limiter_memory [callers]``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from valetkey.rate_limiting.backends.counters import Counters, CountersUnavailable, MemoryCounters
from valetkey.rate_limiting.backends.sql_counters import SqliteCounters, open_local_counters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter

LIMIT = Limit(10, 60, 10)


def resident_mb() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(callers: int) -> None:
    """Count one call of each caller in each counter backend, and print memory and time."""
    print(f"{callers:,} callers, one call each; MB before and after, us for each call")
    with tempfile.TemporaryDirectory() as folder:
        kinds: tuple[tuple[str, Counters], ...] = (
            ("memory", MemoryCounters()),
            ("SQLite", SqliteCounters(Path(folder) / "limits.db")),
            ("mapped", open_local_counters(Path(folder) / "mapped.db")),
        )
        for name, counters in kinds:
            limiter, before_mb, started_at, uncounted = Limiter(counters), resident_mb(), time.perf_counter(), 0
            now = time.time()
            for number in range(callers):
                try:
                    limiter.spend(f"route|address|{number}", LIMIT, now)
                except CountersUnavailable:
                    uncounted += 1
            each_us = (time.perf_counter() - started_at) / callers * 1e6
            print(f"{name:<8} {before_mb:6.1f} {resident_mb():6.1f} {each_us:7.1f}  uncounted: {uncounted:,}")
            limiter.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
