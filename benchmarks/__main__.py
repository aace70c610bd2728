"""``python -m benchmarks``: measure the rows asked for, print the table, keep the figures."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import fmean

from benchmarks.installation import install
from benchmarks.place import Place, a_place
from benchmarks.processes import Others
from benchmarks.report import Figures, how, tables, write
from benchmarks.rows import ROWS, USUAL

WARM = 10  # seconds for each contender before it counts
TOO_BUSY = 0.05  # share of the machine that other programs use; above it is told


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows asked for, or all."""
    asked = _read(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    install()
    figures = Figures(asked.rounds, asked.seconds)
    with a_place() as place:
        for row in asked.rows:
            try:
                _measure(place, row, asked.warm, figures)
            except AssertionError as wrong:  # of a server's start or answers: all that a person needs is in it
                kept = f"\n\nThe rows before it are kept in {write(figures)}" if figures.values else ""
                sys.exit(f"{row}: {wrong}{kept}")
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
        disturbed: list[float] = []
        for number in range(1, figures.rounds + 1):
            for contender in contenders:
                others = Others()
                found = contender.run(figures.seconds)
                disturbed.append(others.share())
                values[contender.name].append(found)
                measured = f"{found:>10,.2f} {contender.unit:3} {contender.name}"
                note = f"  (others: {disturbed[-1]:.0%})" if disturbed[-1] > TOO_BUSY else ""
                _say(f"{row}: round {number}/{figures.rounds}  {measured}{note}")
    figures.values[row] = values
    figures.others[row] = fmean(disturbed)
    figures.units[row] = {contender.name: contender.unit for contender in contenders}


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows", type=_rows, default=USUAL, help=f"such as P2,P4; of {', '.join(ROWS)} (default: all but P8)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="length of each load (default: 5)")
    parser.add_argument("--warm", type=float, default=WARM, help=f"seconds before it counts (default: {WARM})")
    return parser.parse_args(arguments)


def _rows(text: str) -> list[str]:
    asked = [name.strip().upper() for name in text.split(",")]
    if unknown := [name for name in asked if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {', '.join(unknown)}")
    return asked


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
