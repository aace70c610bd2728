"""``valetkey backup``: a copy of the store while it is served."""

from __future__ import annotations

from pathlib import Path

import click

from valetkey.runtime import Runtime
from valetkey.storage.engine.backup import back_up

from .app_loading import with_runtime


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_runtime
def backup(runtime: Runtime, file: Path) -> None:
    """Copy the SQLite store into FILE, while it is in use.

    To restore, put the copy in the store's place, with no server running.
    """
    size = back_up(runtime.settings.store_url, file)
    click.echo(f"{file} has {size:,} bytes.")
    where = (
        "encryption_keys" if runtime.settings.encryption_keys else Path(runtime.settings.data_dir) / "encryption.key"
    )
    click.echo(f"Keep {where} too, in another place: without it the copy's private keys cannot be read.")
