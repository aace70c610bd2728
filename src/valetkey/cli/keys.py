"""``valetkey keys``: the keys that sign tokens, and a new key that encrypts the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from valetkey.activity.audit import audit
from valetkey.runtime import Runtime
from valetkey.storage import revocations, signing_keys
from valetkey.storage.signing_keys import SigningKeyRow
from valetkey.tokens.encryption import keep_key, new_encryption_key
from valetkey.tokens.key_rotation import rotate as rotated

from .app_loading import json_option, with_runtime
from .printing import tell_rows, time_text

_PUBLISHED_BEFORE = 900  # seconds; three times what our JWK set may be cached


@click.group()
def keys() -> None:
    """Keys that sign tokens; a new key that encrypts the store."""


@keys.command("list")
@json_option
@with_runtime
def list_keys(runtime: Runtime, as_json: bool) -> None:
    """Show the signing keys, oldest first."""
    shown = _shown(runtime)
    tell_rows(shown, ("kid", "alg", "state", "active_at", "retired_at"), as_json, none="There are no keys.")


def _shown(runtime: Runtime) -> list[dict[str, Any]]:
    now = runtime.clock()
    rows = [row for row in signing_keys.every(runtime.store) if row.algorithm != "none"]
    signing = {row.algorithm: row.kid for row in rows if row.active_at <= now}  # the newest, as they are in order
    return [
        {
            "kid": row.kid,
            "alg": row.algorithm,
            "state": _state(row, signing, now),
            "active_at": row.active_at,
            "retired_at": row.retired_at,
        }
        for row in rows
    ]


def _state(row: SigningKeyRow, signing: Mapping[str, str], now: float) -> str:
    if row.retired_at is not None and row.retired_at <= now:
        return "retired"
    if row.active_at > now:
        return "next"
    return "signs" if signing[row.algorithm] == row.kid else "verifies"


@keys.command()
@click.option("--emergency", is_flag=True, help="The old keys are worth nothing at once, nor what they signed.")
@json_option
@with_runtime
def rotate(runtime: Runtime, emergency: bool, as_json: bool) -> None:
    """Make new signing keys.

    They are published now and used in a quarter of an hour; the old ones stay until their tokens end.
    """
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
    active_at = now if emergency else now + _PUBLISHED_BEFORE
    if as_json:
        click.echo(json.dumps([key for key in _shown(runtime) if key["active_at"] == active_at]))
        return
    click.echo("New keys sign from now on." if emergency else f"New keys sign from {time_text(active_at)} UTC.")


@keys.command()
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Keep it there; one that is there stays.")
def new(file: Path | None) -> None:
    """Print a new key that encrypts the store.

    It is for the setting encryption_keys: put it first, and keep the old ones behind it, comma-separated.

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
