"""``python -m benchmarks``: measure the rows asked for, print the table, keep the figures."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.installation import install
from benchmarks.place import Place, a_place
from benchmarks.report import Figures, how, tables, write
from benchmarks.rows import ROWS

WARM = 10  # seconds for each contender before it counts
TOO_BUSY = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows asked for, or all."""
    asked = _read(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    install()
    figures = Figures(asked.rounds, asked.seconds, _busy(), {}, {})
    if figures.busy_before > TOO_BUSY:
        print(f"Other programs use {figures.busy_before:.0%} of this machine: the ratios will be rough.")
    with a_place() as place:
        for row in asked.rows:
            _measure(place, row, asked.warm, figures)
    print(f"\n{how(figures)}\n\n{tables(figures)}\n\nKept in {write(figures)}")


def _measure(place: Place, row: str, warm: float, figures: Figures) -> None:
    """Start a row's servers, warm each, then take the rounds in turn."""
    _say(f"{row}: starting")
    with ExitStack() as running:
        contenders = ROWS[row](place, running)
        for contender in contenders:
            _say(f"{row}: warming {contender.name}")
            contender.run(warm)
        values: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for number in range(1, figures.rounds + 1):
            for contender in contenders:
                found = contender.run(figures.seconds)
                values[contender.name].append(found)
                measured = f"{found:>10,.2f} {contender.unit:3} {contender.name}"
                _say(f"{row}: round {number}/{figures.rounds}  {measured}")
    figures.values[row] = values
    figures.units[row] = {contender.name: contender.unit for contender in contenders}


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help=f"such as P2,P4; of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="length of each load (default: 5)")
    parser.add_argument("--warm", type=float, default=WARM, help=f"seconds before it counts (default: {WARM})")
    return parser.parse_args(arguments)


def _rows(text: str) -> list[str]:
    asked = [name.strip().upper() for name in text.split(",")]
    if unknown := [name for name in asked if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {', '.join(unknown)}")
    return asked


def _busy() -> float:
    """Answer the share of all cores that was in use during one second."""

    def ticks() -> tuple[int, int]:
        numbers = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # of which idle, and waiting for a disk

    total, idle = ticks()
    time.sleep(1)
    total_later, idle_later = ticks()
    return 1 - (idle_later - idle) / (total_later - total)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
