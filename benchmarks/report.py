"""The results of a run, as Markdown tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.app_rows import APP_ROWS
from benchmarks.installation import NODE
from benchmarks.rows import DEFAULT_ROWS, TARGETS, Target
from benchmarks.testbed import measure_fsync_ms

RESULTS = Path(__file__).parent / "results"


@dataclass
class Results:
    """The results of a run. The names of the fields are those of the JSON file.

    :ivar rounds: how often each contender was measured.
    :ivar seconds: how long each load was.
    :ivar values: the value of each round, by row and name of the contender.
    :ivar units: the unit of the values, by row and name of the contender.
    :ivar others: the share of the CPU that other programs used, by row.
    :ivar fsync_ms: how long fsync takes on the disk with the databases, in milliseconds.
    """

    rounds: int
    seconds: float
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    units: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)
    fsync_ms: float = field(default_factory=measure_fsync_ms)


def ratio(target: Target, results: Results) -> tuple[float, float, float]:
    """Return the median, the lowest and the highest ratio of the rounds.

    A target without a peer has no ratio: its values are used instead.
    """
    row = results.values[target.row]
    values = row[target.ours]
    if target.against:
        values = [ours / theirs for ours, theirs in zip(values, row[target.against], strict=True)]
    return median(values), min(values), max(values)


def format_tables(results: Results) -> str:
    """Return two Markdown tables: the ratios with their targets, then all values."""
    lines = [
        "| row | operation | Valetkey | peer | ratio | rounds | target | next target | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for target in TARGETS:
        if target.row in results.values:
            lines.append(_target_line(target, results))
    lines += ["", "| row | measured | median | rounds |", "|---|---|---|---|"]
    for row, contenders in results.values.items():
        for name, values in contenders.items():
            unit = results.units[row][name]
            rounds = " ".join(map(_format_value, values))
            lines.append(f"| {row} | {name} | {_format_value(median(values))} {unit} | {rounds} |")
    return "\n".join(lines)


def write_results(results: Results) -> Path:
    """Write the results as JSON and return the path of that file.

    The tables are written too: to ``latest.md`` if all default rows were measured, else to ``large_store.md`` if P8
    was, else to ``in_app.md`` if the rows of the endpoints in an app were.
    """
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    targets = [
        {
            **asdict(target),
            "ratio": median_ratio,
            "least": lowest,
            "most": highest,
            "reached": _is_reached(target, median_ratio),
        }
        for target in TARGETS
        if target.row in results.values
        for median_ratio, lowest, highest in [ratio(target, results)]
    ]
    facts = {
        "measured_at": now.isoformat(timespec="seconds"),
        "versions": _versions(),
        "cores": os.cpu_count(),
    }
    path = RESULTS / f"{now:%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps({**facts, **asdict(results), "targets": targets}, indent=1) + "\n")
    has_default_rows = set(DEFAULT_ROWS) <= set(results.values)
    pages = {"latest.md": has_default_rows, "large_store.md": "P8" in results.values}
    pages["in_app.md"] = set(APP_ROWS) <= set(results.values)
    page = next((name for name, is_measured in pages.items() if is_measured), None)
    if page:
        parts = [f"# Measured on {now:%Y-%m-%d}", describe_run(results), format_tables(results)]
        (RESULTS / page).write_text("\n\n".join(parts) + "\n")
    return path


def describe_run(results: Results) -> str:
    """Return a text that says how the values were measured, with the versions of the programs."""
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    busiest = max(results.others, key=lambda row: results.others[row])
    return (
        f"{results.rounds} interleaved rounds of {results.seconds:g} s each, medians. Other programs used up to "
        f"{results.others[busiest]:.0%} of the machine meanwhile (in {busiest}). {versions}. fsync takes "
        f"{results.fsync_ms:.2f} ms."
    )


def _target_line(target: Target, results: Results) -> str:
    """Return a target's line of the table."""
    row = results.values[target.row]
    median_ratio, lowest, highest = ratio(target, results)
    bound = "at most " if target.less_is_better else ""
    reached = "reached" if _is_reached(target, median_ratio) else "missed"
    cells = [
        target.row,
        target.act,
        _format_value(median(row[target.ours])),
        _format_value(median(row[target.against])) if target.against else "",
        f"**{median_ratio:.2f}**",
        f"{lowest:.2f} to {highest:.2f}",
        f"{bound}{target.first:g}",
        target.then,
        reached,
    ]
    return f"| {' | '.join(cells)} |"


def _is_reached(target: Target, value: float) -> bool:
    return value <= target.first if target.less_is_better else value >= target.first


def _format_value(value: float) -> str:
    """Format a value with three significant digits, or more if it is 1,000 or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _versions() -> dict[str, str]:
    peers = {"oidc-provider": json.loads((NODE / "node_modules/oidc-provider/package.json").read_text())["version"]}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"Python": platform.python_version(), "Node": node.removeprefix("v"), **peers}
