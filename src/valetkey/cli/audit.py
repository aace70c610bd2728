"""``valetkey audit``: show or export security events, with their time, client, resource owner and IP address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import click

from valetkey.runtime import Runtime
from valetkey.storage import audit as audit_storage
from valetkey.storage.audit import AuditEntry

from .app_loading import with_runtime
from .printing import format_time, json_option

_PAGE_SIZE = 1000


@click.group()
def audit() -> None:
    """Show or export the log of security events."""


@audit.command()
@click.option("--last", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many events to show.")
@click.option("-f", "--follow", is_flag=True, help="Then show new events as they are added, until Ctrl-C.")
@json_option
@with_runtime
def tail(runtime: Runtime, last: int, follow: bool, as_json: bool) -> None:
    """Show the newest security events, the oldest of them first.

    With --json each line is a JSON object.
    """
    entries = audit_storage.list_latest(runtime.store, last)
    _print_entries(entries, as_json)
    last_id = entries[-1].audit_id if entries else 0
    while follow:
        threading.Event().wait(1.0)
        entries = audit_storage.list_after(runtime.store, last_id, _PAGE_SIZE)
        _print_entries(entries, as_json)
        last_id = entries[-1].audit_id if entries else last_id


@audit.command()
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Only events from this time on, in UTC."
)
@with_runtime
def export(runtime: Runtime, since: datetime | None) -> None:
    """Print all security events as JSON Lines, oldest first."""
    begin = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    last_id = 0
    while entries := audit_storage.list_after(runtime.store, last_id, _PAGE_SIZE, since=begin):
        _print_entries(entries, as_json=True)
        last_id = entries[-1].audit_id


def _print_entries(entries: Iterable[AuditEntry], as_json: bool) -> None:
    for entry in entries:
        members = {name: value for name, value in asdict(entry.row).items() if value is not None}
        if as_json:
            click.echo(json.dumps({"id": entry.audit_id, **members}))
            continue
        details = "  ".join(f"{name}={value}" for name, value in members.items() if name not in {"at", "event"})
        click.echo(f"{format_time(entry.row.at, with_seconds=True)}  {entry.row.event:<28} {details}")
