"""``valetkey prune``: delete expired rows from the database now."""

from __future__ import annotations

import click

from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.outbound.pruning import prune as prune_tables
from valetkey.runtime import Runtime

from .app_loading import with_server_settings
from .printing import json_option, print_result

# Settings on which it depends which rows are deleted. A test records which ones are read.
SETTINGS_OF_PRUNE = ("audit_retention_days", "unused_registration_days")


@click.command()
@json_option
@with_server_settings(*SETTINGS_OF_PRUNE)
def prune(runtime: Runtime, as_json: bool) -> None:
    """Delete expired codes, tokens and sessions from the database.

    `valetkey serve` and `valetkey work` do so every hour. If a table cannot be pruned, the others are, and the exit
    status is 1.
    """
    removed, failed = delete_expired_rows(runtime)
    _print_removed(removed, as_json)
    if failed:
        raise click.ClickException(f"not pruned, for the reasons above: {', '.join(sorted(failed))}")


def delete_expired_rows(runtime: Runtime) -> tuple[dict[str, int], set[str]]:
    """Delete expired rows, unused clients and counters.

    Return how many rows were deleted, by name of the table, and the names of tables that could not be pruned.
    """
    now = runtime.clock()
    removed, failed = prune_tables(runtime.store, now, runtime.settings.audit_retention_days)
    removed["unused clients"] = prune_unused_clients(runtime, now)
    runtime.prune_limits(now)
    return removed, failed


def _print_removed(removed: dict[str, int], as_json: bool) -> None:
    if as_json:
        print_result(removed, as_json)
        return
    for table, row_count in removed.items():
        if row_count:
            click.echo(f"{row_count:>9} {table.removeprefix('valetkey_').replace('_', ' ')}")
    total = sum(removed.values())
    click.echo(f"{total:>9} rows removed" if total else "0 rows removed")
