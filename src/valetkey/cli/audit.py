"""``valetkey audit``: who did what, from where, when."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

import click

from valetkey.runtime import Runtime
from valetkey.storage import audit as stored
from valetkey.storage.audit import AuditEntry

from .app_loading import json_option, with_runtime
from .printing import format_time

_PAGE_SIZE = 1000


@click.group()
def audit() -> None:
    """The log of security events."""


@audit.command()
@click.option("--last", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@json_option
@with_runtime
def tail(runtime: Runtime, last: int, follow: bool, as_json: bool) -> None:
    """Show the newest events, oldest first.

    With --json each line is a JSON object.
    """
    found = stored.list_latest(runtime.store, last)
    _print_events(found, as_json)
    seen = found[-1].audit_id if found else 0
    while follow:
        threading.Event().wait(1.0)
        found = stored.list_after(runtime.store, seen, _PAGE_SIZE)
        _print_events(found, as_json)
        seen = found[-1].audit_id if found else seen


@audit.command()
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="The first moment, UTC; all if left out."
)
@with_runtime
def export(runtime: Runtime, since: datetime | None) -> None:
    """Print all events as JSON Lines, oldest first."""
    begin = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    seen = 0
    while found := stored.list_after(runtime.store, seen, _PAGE_SIZE, since=begin):
        _print_events(found, as_json=True)
        seen = found[-1].audit_id


def _print_events(events: Iterable[AuditEntry], as_json: bool) -> None:
    for one in events:
        members = {name: value for name, value in asdict(one.row).items() if value is not None}
        if as_json:
            click.echo(json.dumps({"id": one.audit_id, **members}))
            continue
        told = "  ".join(f"{name}={value}" for name, value in members.items() if name not in {"at", "event"})
        click.echo(f"{format_time(one.row.at, with_seconds=True)}  {one.row.event:<28} {told}")
