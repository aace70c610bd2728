"""``valetkey backup``: copy the SQLite database while it is in use."""

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
    """Copy the SQLite database to FILE while it is in use.

    To restore the copy, stop all servers and run `valetkey restore`.
    """
    size = back_up(runtime.settings.store_url, file)
    click.echo(f"{file} has {size:,} bytes.")
    key_location = (
        "encryption_keys" if runtime.settings.encryption_keys else Path(runtime.settings.data_dir) / "encryption.key"
    )
    click.echo(f"Keep {key_location} too, in another place: without it, the backup's private keys cannot be decrypted.")
