"""``valetkey keys``: the keys that sign tokens, and a new key that encrypts the store."""

from __future__ import annotations

from pathlib import Path

import click

from valetkey.activity.auditing import audit
from valetkey.runtime import Runtime
from valetkey.storage import revocations, signing_keys
from valetkey.tokens.cipher import keep_key, new_encryption_key
from valetkey.tokens.key_making import rotate as rotated

from .opened import json_option, with_runtime
from .output import tell_rows, time_text

_PUBLISHED_BEFORE = 900  # seconds; three times what our JWK set may be cached


@click.group()
def keys() -> None:
    """Keys that sign tokens; a new key that encrypts the store."""


@keys.command("list")
@json_option
@with_runtime
def list_keys(runtime: Runtime, as_json: bool) -> None:
    """Show the signing keys, oldest first."""
    rows = [row for row in signing_keys.every(runtime.store) if row.algorithm != "none"]
    shown = [
        {"kid": row.kid, "alg": row.algorithm, "active_at": row.active_at, "retired_at": row.retired_at} for row in rows
    ]
    tell_rows(shown, ("kid", "alg", "active_at", "retired_at"), as_json)


@keys.command()
@click.option("--emergency", is_flag=True, help="The old keys are worth nothing at once, nor what they signed.")
@with_runtime
def rotate(runtime: Runtime, emergency: bool) -> None:
    """Make new signing keys: published now, used in a quarter of an hour; the old ones stay till their tokens end."""
    now = runtime.clock()
    rows = rotated(
        runtime.store,
        runtime.cipher,
        now,
        published_before=_PUBLISHED_BEFORE,
        tokens_live=max(runtime.settings.access_token_lifetime, runtime.settings.id_token_lifetime) + 60,
        emergency=emergency,
    )
    runtime.revoke(
        *rows,
        revocations.add("changed", "keys", now, runtime.revocation_ends),
        audit("keys.created", now, detail="emergency" if emergency else None),
    )
    click.echo(
        "New keys sign from now on." if emergency else f"New keys sign from {time_text(now + _PUBLISHED_BEFORE)} UTC."
    )


@keys.command()
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Keep it there; one that is there stays.")
def new(file: Path | None) -> None:
    """Print a new value for encryption_keys; put it first, and keep the old ones behind it.

    With --file, print what that file holds, and make it with a new key where it is not there yet: however often this
    runs, the value is the same.
    """
    if file is None:
        click.echo(new_encryption_key())
        return
    try:
        keep_key(file)
        held = file.read_text().split()
    except OSError as cause:
        raise click.ClickException(f"{file} cannot be used: {cause.strerror}") from cause
    if not held:
        raise click.ClickException(f"{file} holds no key: remove it, and a new one is made")
    click.echo(",".join(held))
