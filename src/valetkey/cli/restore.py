"""``valetkey restore``: put a backup in the place of the SQLite database."""

from __future__ import annotations

import time
from pathlib import Path

import click

from valetkey.activity.audit import audit_statement
from valetkey.caches.change_feed import ChangeFeed
from valetkey.runtime import Runtime, prepare_store
from valetkey.storage import accounts, audit, change_feed, clients
from valetkey.storage.engine.files import resolve_links
from valetkey.storage.engine.open import open_store, sqlite_path
from valetkey.storage.engine.restore import replace_database, restorable_copy
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.revoke_all import drop_jobs
from valetkey.storage.schema import check_tables, schema_version, upgrade_schema
from valetkey.tokens.encryption import Cipher
from valetkey.tokens.key_ring import KeyRing
from valetkey.tokens.revoke_all import revoke_everything
from valetkey.web.context import EXTENSION

from .app_loading import load_app
from .option_values import NonEmptyPath
from .printing import format_time
from .revoke_all import list_consequences

_WARNING = (
    "Warning: everything that was revoked, used or withdrawn after the backup becomes valid again: access, refresh and "
    "personal access tokens, sessions, consents, codes and mailed links."
)


@click.command()
@click.argument("file", type=NonEmptyPath(path_type=Path))
@click.option("--keep-tokens", is_flag=True, help="Do not end sessions and tokens. Revoked tokens become valid again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_context
def restore(context: click.Context, file: Path, keep_tokens: bool, yes: bool) -> None:
    """Put a backup in the place of the SQLite database.

    FILE is what `valetkey backup` wrote. Stop all servers first. The replaced database stays in the same folder. All
    sessions and all tokens end, since the backup does not know what was revoked or used after it was made.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    runtime.close()  # an app may have used its database while it was loaded
    database = sqlite_path(runtime.settings.store_url)
    if database is None:
        raise StoreUnavailable(
            "the database is PostgreSQL: restore it with `pg_restore` into an empty database, then run "
            "`valetkey db upgrade` and `valetkey revoke-all`"
        )
    database = resolve_links(database)
    with restorable_copy(file, database) as copy:
        for line in _prepare_copy(copy, runtime):
            click.echo(line)
        click.echo(f"It replaces {database}." if database.exists() else f"It becomes {database}.")
        consequences = list_consequences(has_built_in_accounts=runtime.has_built_in_accounts)
        for line in (_WARNING,) if keep_tokens else consequences:
            click.echo(line)
        if not yes:
            click.confirm("Restore it?", abort=True)
        _end_what_was_issued(copy, file, runtime.cipher, keep_tokens)
        replaced_file = replace_database(database, copy, time.time())
    try:
        prepare_store(runtime)  # registers built-in clients that an older version did not have
    finally:
        runtime.close()
    click.echo(f"{database} is restored." + (f" The old database is {replaced_file}." if replaced_file else ""))


def _prepare_copy(copy: Path, runtime: Runtime) -> list[str]:
    """Upgrade the copy of a backup to the needed schema, and return lines that describe it.

    :raises StoreUnavailable: if it is no Valetkey database, or a newer one, or if its keys cannot be decrypted.
    """
    store = open_store(f"sqlite:///{copy}")
    try:
        version = schema_version(store)
        if version is None:
            raise StoreUnavailable("it is not a Valetkey database")
        upgrade_schema(f"sqlite:///{copy}")
        check_tables(store)
        KeyRing(store, runtime.cipher, ChangeFeed(store)).check(time.time())
        apps = len(clients.list_all(store))
        return [
            f"Users in the backup: {len(accounts.list_all(store))}. Apps: {apps}."
            if runtime.has_built_in_accounts
            else f"Apps in the backup: {apps}.",
            f"Its last event is from {_last_event_time(store)}; its schema is {version}.",
        ]
    finally:
        store.close()


def _last_event_time(store: Store) -> str:
    entries = audit.list_latest(store, 1)
    return f"{format_time(entries[0].row.at, with_seconds=True)} UTC" if entries else "an unknown time"


def _end_what_was_issued(copy: Path, file: Path, cipher: Cipher, keep_tokens: bool) -> None:
    """End all sessions and tokens in the copy of a backup, or drop only its queued mail and logout tokens."""
    store, now = open_store(f"sqlite:///{copy}"), time.time()
    try:
        if keep_tokens:
            drop_jobs(store, now)
            event = audit_statement("store.restored", now, detail=f"{file.name}, tokens not revoked")
            store.write(Transaction(rows=(change_feed.skip_ids(), event)))
        else:
            revoke_everything(store, cipher, now, "store.restored", detail=file.name)
    finally:
        store.close()
