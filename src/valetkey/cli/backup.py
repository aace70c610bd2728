"""``valetkey backup``: copy the SQLite database while it is in use."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from valetkey.runtime import Runtime
from valetkey.storage.engine.backup import back_up

from .app_loading import with_runtime
from .option_values import NonEmptyPath


@click.command()
@click.argument("file", type=NonEmptyPath(dir_okay=False, path_type=Path))
@with_runtime
def backup(runtime: Runtime, file: Path) -> None:
    """Copy the SQLite database to FILE while it is in use.

    To restore the copy, stop all servers and run `valetkey restore`.
    """
    with _ending_at_sigterm():
        size = back_up(runtime.settings.store_url, file)
    click.echo(f"{file} has {size:,} bytes.")
    key_location = (
        "encryption_keys" if runtime.settings.encryption_keys else Path(runtime.settings.data_dir) / "encryption.key"
    )
    click.echo(f"Keep {key_location} too, in another place: without it, the backup's private keys cannot be decrypted.")


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """Context manager in which SIGTERM ends the process by an exception, so that what was written is removed."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
