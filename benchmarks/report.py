"""A run's figures: for a person as tables, for a program as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.installation import NODE
from benchmarks.rows import TARGETS, USUAL, Target

RESULTS = Path(__file__).parent / "results"


@dataclass
class Figures:
    """The rounds of each contender, by row and name, and how they were made."""

    rounds: int
    seconds: float
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    units: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)  # share of the machine that other programs used


def ratio(target: Target, figures: Figures) -> tuple[float, float, float]:
    """Answer the median, least and greatest of the rounds' ratios (or of the values themselves)."""
    row = figures.values[target.row]
    mine = row[target.ours]
    if target.against:
        mine = [ours / theirs for ours, theirs in zip(mine, row[target.against], strict=True)]
    return median(mine), min(mine), max(mine)


def tables(figures: Figures) -> str:
    """Answer both tables, in Markdown: ratios against targets, then every figure."""
    lines = [
        "| row | act | ours | peer | ratio | rounds | first | then | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for target in TARGETS:
        if target.row in figures.values:
            lines.append(_target_line(target, figures))
    lines += ["", "| row | measured | median | rounds |", "|---|---|---|---|"]
    for row, contenders in figures.values.items():
        for name, values in contenders.items():
            unit = figures.units[row][name]
            each = " ".join(map(_short, values))
            lines.append(f"| {row} | {name} | {_short(median(values))} {unit} | {each} |")
    return "\n".join(lines)


def write(figures: Figures) -> Path:
    """Write the run as JSON and, if it has all rows, as the latest table; answer the JSON's path."""
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    targets = [
        {
            **asdict(target),
            "ratio": middle,
            "least": least,
            "most": most,
            "reached": _is_reached(target, middle),
        }
        for target in TARGETS
        if target.row in figures.values
        for middle, least, most in [ratio(target, figures)]
    ]
    facts = {
        "measured_at": now.isoformat(timespec="seconds"),
        "versions": _versions(),
        "cores": os.cpu_count(),
    }
    path = RESULTS / f"{now:%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps({**facts, **asdict(figures), "targets": targets}, indent=1) + "\n")
    kept = "latest.md" if set(USUAL) <= set(figures.values) else "crowded.md" if "P8" in figures.values else None
    if kept:
        words = [f"# Measured on {now:%Y-%m-%d}", how(figures), tables(figures)]
        (RESULTS / kept).write_text("\n\n".join(words) + "\n")
    return path


def how(figures: Figures) -> str:
    """Answer in a sentence how the figures were made."""
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    worst = max(figures.others, key=lambda row: figures.others[row])
    return (
        f"{figures.rounds} interleaved rounds of {figures.seconds:g} s each, medians. Other programs used up to "
        f"{figures.others[worst]:.0%} of the machine meanwhile (in {worst}). {versions}."
    )


def _target_line(target: Target, figures: Figures) -> str:
    row = figures.values[target.row]
    middle, least, most = ratio(target, figures)
    bound = "at most " if target.less_is_better else ""
    reached = "reached" if _is_reached(target, middle) else "missed"
    cells = [
        target.row,
        target.act,
        _short(median(row[target.ours])),
        _short(median(row[target.against])) if target.against else "",
        f"**{middle:.2f}**",
        f"{least:.2f} to {most:.2f}",
        f"{bound}{target.first:g}",
        target.then,
        reached,
    ]
    return f"| {' | '.join(cells)} |"


def _is_reached(target: Target, value: float) -> bool:
    return value <= target.first if target.less_is_better else value >= target.first


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _versions() -> dict[str, str]:
    peers = {"oidc-provider": json.loads((NODE / "node_modules/oidc-provider/package.json").read_text())["version"]}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"Python": platform.python_version(), "Node": node.removeprefix("v"), **peers}
