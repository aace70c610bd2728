"""``python -m benchmarks``: measure the selected rows, print the tables and store the results."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import fmean

from benchmarks.installation import install
from benchmarks.processes import OtherProcesses
from benchmarks.report import Results, describe_run, format_tables, write_results
from benchmarks.rows import DEFAULT_ROWS, ROWS
from benchmarks.testbed import Testbed, open_testbed

WARM_UP_S = 10  # load on each contender before the rounds
REPORTED_CPU_SHARE = 0.05  # the CPU share of other programs is printed if it is higher


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows of ``--rows``, by default all but P8."""
    options = _parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started programs are stopped
    install()
    results = Results(options.rounds, options.seconds)
    with open_testbed() as testbed:
        for row in options.rows:
            try:
                _measure_row(testbed, row, options.warm, results)
            except AssertionError as failure:  # its message says which server did not start or responded wrongly
                stored = f"\n\nThe results of earlier rows are in {write_results(results)}" if results.values else ""
                sys.exit(f"{row}: {failure}{stored}")
    print(f"\n{describe_run(results)}\n\n{format_tables(results)}\n\nStored in {write_results(results)}")


def _measure_row(testbed: Testbed, row: str, warm_up_s: float, results: Results) -> None:
    """Start the servers of a row, warm each up, then measure them in turn, once in each round."""
    _print_progress(f"{row}: starting")
    with ExitStack() as running:
        contenders = ROWS[row](testbed, running)
        for contender in contenders:
            _print_progress(f"{row}: warming up {contender.name}")
            contender.run(warm_up_s)
        values: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        other_shares: list[float] = []
        for number in range(1, results.rounds + 1):
            for contender in contenders:
                others = OtherProcesses()
                value = contender.run(results.seconds)
                other_shares.append(others.cpu_share())
                values[contender.name].append(value)
                measured = f"{value:>10,.2f} {contender.unit:3} {contender.name}"
                note = f"  (others: {other_shares[-1]:.0%})" if other_shares[-1] > REPORTED_CPU_SHARE else ""
                _print_progress(f"{row}: round {number}/{results.rounds}  {measured}{note}")
    results.values[row] = values
    results.others[row] = fmean(other_shares)
    results.units[row] = {contender.name: contender.unit for contender in contenders}


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows",
        type=_parse_rows,
        default=DEFAULT_ROWS,
        help=f"such as P2,P4; of {', '.join(ROWS)} (default: all but P8)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="length of each load (default: 5)")
    parser.add_argument(
        "--warm", type=float, default=WARM_UP_S, help=f"seconds of load before the rounds (default: {WARM_UP_S})"
    )
    return parser.parse_args(arguments)


def _parse_rows(text: str) -> list[str]:
    by_lower_name = {name.lower(): name for name in ROWS}
    names = [by_lower_name.get(name.strip().lower(), name.strip()) for name in text.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {', '.join(unknown)}")
    return names


def _print_progress(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
