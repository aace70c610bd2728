"""How much memory a million different callers cost: ``python -m benchmarks.limiter_memory [number]``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from valetkey.rate_limiting.counters import Counters, MemoryCounters
from valetkey.rate_limiting.limit import Limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.rate_limiting.sql_counters import SqliteCounters
from valetkey.storage.engine.transaction import StoreUnavailable

LIMIT = Limit(10, 60, 10)


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(callers: int) -> None:
    """One call of each caller, counted in memory and then in a SQLite file."""
    print(f"{callers:,} callers, one call each; MB before and after, us for each call")
    with tempfile.TemporaryDirectory() as folder:
        kinds: tuple[tuple[str, Counters], ...] = (
            ("memory", MemoryCounters()),
            ("SQLite", SqliteCounters(Path(folder) / "limits.db")),
        )
        for name, counters in kinds:
            limiter, before, begun, refused = Limiter(counters), resident(), time.perf_counter(), 0
            now = time.time()
            for number in range(callers):
                try:
                    limiter.spend(f"route|address|{number}", LIMIT, now)
                except StoreUnavailable:
                    refused += 1
            each = (time.perf_counter() - begun) / callers * 1e6
            print(f"{name:<8} {before:6.1f} {resident():6.1f} {each:7.1f}  uncounted: {refused:,}")
            limiter.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
