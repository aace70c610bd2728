"""``valetkey audit``: show or export security events, with their time, client, resource owner and IP address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import click

from valetkey.protocol.printable import escape_unprintable
from valetkey.runtime import Runtime
from valetkey.storage import audit as audit_storage
from valetkey.storage.audit import AuditEntry
from valetkey.storage.engine.store import Store

from .app_loading import with_runtime
from .printing import format_time, json_option

_PAGE_SIZE = 1000
# Entries that are read again while following the log: a transaction may commit after others that wrote later entries.
_LATE_ENTRIES = 1000
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
    counted = _list_counted(runtime)
    latest = audit_storage.list_latest(runtime.store, max(last, _LATE_ENTRIES))
    _print_entries(latest[-last:], as_json)
    if follow:
        _follow(runtime, (*counted, *latest), as_json)


@audit.command()
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Show events since this time (UTC)."
)
@with_runtime
def export(runtime: Runtime, since: datetime | None) -> None:
    """Print all security events as JSON Lines, oldest first."""
    begin = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    _print_entries(_iter_after(runtime.store, 0, since=begin), as_json=True)


def _follow(runtime: Runtime, seen: Iterable[AuditEntry], as_json: bool) -> None:
    """Print new entries, and the counted ones of the last minutes again if their count has grown, until Ctrl-C.

    :param seen: the newest entries, which are not printed again.
    """
    counts = {entry.audit_id: entry.row.count for entry in seen}
    while True:
        threading.Event().wait(1.0)
        late_id = max(counts, default=0) - _LATE_ENTRIES
        read = {entry.audit_id: entry for entry in (*_list_counted(runtime), *_iter_after(runtime.store, late_id))}
        changed = [entry for id_, entry in read.items() if id_ not in counts or counts[id_] != entry.row.count]
        _print_entries(sorted(changed, key=lambda entry: entry.audit_id), as_json)
        counts = {audit_id: entry.row.count for audit_id, entry in read.items()} or counts


def _list_counted(runtime: Runtime) -> list[AuditEntry]:
    return audit_storage.list_counted(runtime.store, runtime.clock() - _COUNTING_S, _PAGE_SIZE)


def _iter_after(store: Store, audit_id: int, *, since: float = 0.0) -> Iterator[AuditEntry]:
    """Yield the entries with a higher id than ``audit_id``, and not from before ``since``, lowest id first."""
    while entries := audit_storage.list_after(store, audit_id, _PAGE_SIZE, since=since):
        yield from entries
        audit_id = entries[-1].audit_id


def _print_entries(entries: Iterable[AuditEntry], as_json: bool) -> None:
    for entry in entries:
        members = {name: value for name, value in asdict(entry.row).items() if value is not None}
        if as_json:
            click.echo(json.dumps({"id": entry.audit_id, **members}))
            continue
        details = "  ".join(f"{name}={value}" for name, value in members.items() if name not in {"at", "event"})
        line = f"{format_time(entry.row.at, with_seconds=True)}  {entry.row.event:<28} {details}"
        click.echo(escape_unprintable(line))
