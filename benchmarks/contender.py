"""What a row of the benchmark compares: contenders, and the target of the ratio of two of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.testbed import Testbed

MAX_WRK_CPU_SHARE = 0.8  # above it, wrk may be what limits the measured rate


@dataclass(frozen=True)
class Contender:
    """One of the servers or variants that a row compares.

    :ivar run: generates load for so many seconds and returns the measured value.
    """

    name: str
    run: Callable[[float], float]
    unit: str = "/s"


@dataclass(frozen=True)
class Target:
    """Target for the ratio of two contenders. The names of the fields are those of the JSON results.

    :ivar act: what is compared, as the table says it.
    :ivar ours: name of Valetkey's contender.
    :ivar against: name of the contender to compare with; ``None`` if the target is for the value of ``ours`` itself.
    :ivar first: the ratio to reach.
    :ivar then: the next target.
    :ivar less_is_better: whether ``first`` is an upper limit.
    """

    row: str
    act: str
    ours: str
    against: str | None
    first: float
    then: str
    less_is_better: bool = False


Row = Callable[[Testbed, ExitStack], list[Contender]]


def rate(testbed: Testbed, name: str, load: Load, *, cores: str | None = None) -> Contender:
    """Return a contender whose value is the load's rate per second."""
    return Contender(name, lambda seconds: run_load(testbed, load, seconds, cores))


def run_load(testbed: Testbed, load: Load, seconds: float, cores: str | None = None) -> float:
    """Run a load and return its rate per second."""
    measurement = load.run(seconds, cores or str(testbed.cores[1]))
    if measurement.wrk_cpu_share > MAX_WRK_CPU_SHARE:
        share = f"{measurement.wrk_cpu_share:.0%}"
        print(f"wrk used {share} of its core: {load.url} may be faster than this.", flush=True)
    return measurement.per_second
