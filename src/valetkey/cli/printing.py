"""Print the results of commands: as text, or with ``--json`` as JSON for scripts.

Values may be text of others, such as the name of an app: what is not printable is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from valetkey.protocol.printable import escape_unprintable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print the result of a command: as a JSON object, or as text with one line for each member.

    As text, members that are ``None`` or ``[]`` are left out, and a list has one line for each item.
    """
    if as_json:
        click.echo(json.dumps(result))
        return
    members = {name: value for name, value in result.items() if value is not None and value != []}
    width = max(map(len, members), default=0) + 1
    for name, value in members.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            click.echo(f"{'' if number else name + ':':<{width}} {_format_value(name, line)}")


def _format_value(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, int | float):
        return f"{format_time(value)} UTC"
    return json.dumps(value) if isinstance(value, dict | list | bool) else escape_unprintable(str(value))


def print_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool, *, empty_message: str
) -> None:
    """Print rows as a JSON array of objects, or as a table.

    :param columns: names of the members that the table shows; JSON has all members.
    :param empty_message: printed instead of a table if there are no rows.
    """
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
    """Return a time, in seconds since 1970, as date and time in UTC: ``2026-01-31 12:00``."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S" if with_seconds else "%Y-%m-%d %H:%M")


def _format_cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_at") or name == "at":
        return format_time(value)
    return escape_unprintable(" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
