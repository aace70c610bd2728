"""Lists for people to read and for scripts to parse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click


def print_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool, *, empty_message: str
) -> None:
    """Print rows: as JSON whole, else these columns, aligned under their names; ``none`` where there are no rows."""
    rows = list(rows)
    if as_json:
        click.echo(json.dumps(rows))
        return
    cells = [[name.replace("_", " ") for name in columns]]
    cells += [[_format_cell(name, row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells if rows else ():
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if not rows:
        click.echo(empty_message)


def format_time(timestamp: float, *, with_seconds: bool = False) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S" if with_seconds else "%Y-%m-%d %H:%M")


def _format_cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_at") or name == "at":
        return format_time(value)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
