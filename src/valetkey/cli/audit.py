"""``valetkey audit``: show or export security events, with their time, client, resource owner and IP address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import click

from valetkey.protocol.printable import escape_unprintable
from valetkey.runtime import Runtime
from valetkey.storage import audit as audit_storage
from valetkey.storage.audit import AuditEntry

from .app_loading import with_runtime
from .printing import format_time, json_option

_PAGE_SIZE = 1000
_COUNTING_S = 180.0  # an event is counted in its minute, and written some seconds later


@click.group()
def audit() -> None:
    """Show or export the log of security events."""


@audit.command()
@click.option("--last", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many events to show.")
@click.option("-f", "--follow", is_flag=True, help="Then show new events until Ctrl-C is pressed.")
@json_option
@with_runtime
def tail(runtime: Runtime, last: int, follow: bool, as_json: bool) -> None:
    """Show the newest security events, the oldest of them first.

    Failed sign-ins and client authentications, and limits that were reached, are counted: one line for each minute,
    target and network. --follow shows such a line again when its count has grown. With --json each line is a JSON
    object.
    """
    entries = audit_storage.list_latest(runtime.store, last)
    _print_entries(entries, as_json)
    if follow:
        _follow(runtime, entries, as_json)


@audit.command()
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Show events since this time (UTC)."
)
@with_runtime
def export(runtime: Runtime, since: datetime | None) -> None:
    """Print all security events as JSON Lines, oldest first."""
    begin = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    last_id = 0
    while entries := audit_storage.list_after(runtime.store, last_id, _PAGE_SIZE, since=begin):
        _print_entries(entries, as_json=True)
        last_id = entries[-1].audit_id


def _follow(runtime: Runtime, shown: list[AuditEntry], as_json: bool) -> None:
    """Print new entries, and the counted ones of the last minutes again if their count has grown, until Ctrl-C."""
    last_id = shown[-1].audit_id if shown else 0
    counts = {entry.audit_id: entry.row.count for entry in shown}
    while True:
        threading.Event().wait(1.0)
        since = runtime.clock() - _COUNTING_S
        counted = audit_storage.list_counted(runtime.store, since, _PAGE_SIZE)
        grown = [
            entry
            for entry in counted
            if entry.audit_id <= last_id and counts.get(entry.audit_id, entry.row.count) != entry.row.count
        ]
        added = audit_storage.list_after(runtime.store, last_id, _PAGE_SIZE)
        _print_entries((*grown, *added), as_json)
        last_id = added[-1].audit_id if added else last_id
        counts = {entry.audit_id: entry.row.count for entry in (*counted, *added) if entry.row.count is not None}


def _print_entries(entries: Iterable[AuditEntry], as_json: bool) -> None:
    for entry in entries:
        members = {name: value for name, value in asdict(entry.row).items() if value is not None}
        if as_json:
            click.echo(json.dumps({"id": entry.audit_id, **members}))
            continue
        details = "  ".join(f"{name}={value}" for name, value in members.items() if name not in {"at", "event"})
        line = f"{format_time(entry.row.at, with_seconds=True)}  {entry.row.event:<28} {details}"
        click.echo(escape_unprintable(line))
