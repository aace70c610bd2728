"""``valetkey keys``: list and rotate the keys that sign tokens, and generate and replace the key of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from valetkey.activity.audit import audit_statement
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, signing_keys
from valetkey.storage.signing_keys import SigningKeyRow
from valetkey.tokens.encryption import generate_encryption_key, write_key_file
from valetkey.tokens.key_rotation import rotation_statements
from valetkey.tokens.reencryption import reencrypt_all

from .app_loading import with_runtime, with_server_settings
from .option_values import NonEmptyPath
from .printing import format_time, json_option, print_table

_PUBLISH_AHEAD_S = 900  # three times as long as clients may cache Valetkey's JWK set


@click.group()
def keys() -> None:
    """Manage signing keys, and generate encryption keys."""


@keys.command("list")
@json_option
@with_runtime
def list_keys(runtime: Runtime, as_json: bool) -> None:
    """List the keys that sign tokens, oldest first."""
    rows = _describe_signing_keys(runtime)
    print_table(rows, ("kid", "alg", "state", "active_at", "retired_at"), as_json, empty_message="There are no keys.")


def _describe_signing_keys(runtime: Runtime) -> list[dict[str, Any]]:
    """Return ID, algorithm, state and times of each signing key for ``keys list``, oldest first."""
    now = runtime.clock()
    rows = [row for row in signing_keys.list_all(runtime.store) if row.algorithm != "none"]
    current_kids = {row.algorithm: row.kid for row in rows if row.active_at <= now}  # the newest: it comes last
    return [
        {
            "kid": row.kid,
            "alg": row.algorithm,
            "state": _key_state(row, current_kids, now),
            "active_at": row.active_at,
            "retired_at": row.retired_at,
        }
        for row in rows
    ]


def _key_state(row: SigningKeyRow, current_kids: Mapping[str, str], now: float) -> str:
    """Return the state of a signing key: ``next``, ``signs``, ``verifies`` (signs no more) or ``retired``.

    :param current_kids: for each algorithm, the ID of the key that signs now.
    :param now: the current time in seconds since 1970.
    """
    if row.retired_at is not None and row.retired_at <= now:
        return "retired"
    if row.active_at > now:
        return "next"
    return "signs" if current_kids[row.algorithm] == row.kid else "verifies"


@keys.command()
@click.option("--emergency", is_flag=True, help="Retire the old keys at once: all that they signed becomes invalid.")
@json_option
@with_server_settings("access_token_lifetime", "id_token_lifetime")
def rotate(runtime: Runtime, emergency: bool, as_json: bool) -> None:
    """Generate new keys that sign tokens.

    The new keys are published now and used from 15 minutes later. The old keys stay published until the tokens that
    they signed have expired.
    """
    now = runtime.clock()
    statements = rotation_statements(
        runtime.store,
        runtime.cipher,
        now,
        publish_ahead_s=_PUBLISH_AHEAD_S,
        token_lifetime_s=max(runtime.settings.access_token_lifetime, runtime.settings.id_token_lifetime) + 60,
        emergency=emergency,
    )
    runtime.store.write_all(
        *statements,
        change_feed.add("changed", "keys"),
        audit_statement("keys.created", now, detail="emergency" if emergency else None),
    )
    active_at = now if emergency else now + _PUBLISH_AHEAD_S
    if as_json:
        click.echo(json.dumps([key for key in _describe_signing_keys(runtime) if key["active_at"] == active_at]))
        return
    click.echo("The new keys are in use." if emergency else f"New keys sign from {format_time(active_at)} UTC.")


@keys.command()
@with_runtime
def reencrypt(runtime: Runtime) -> None:
    """Encrypt all secrets with the first encryption key.

    Then the other keys can be removed from encryption_keys. The first key of all servers must be this one before. If
    this command is interrupted, nothing is lost: run it again.
    """
    failures = reencrypt_all(
        runtime.store, runtime.cipher, lambda label, count: click.echo(f"Encrypted again: {count} {label}")
    )
    if failures:
        values = ", ".join(f"{count} {label}" for label, count in failures.items())
        raise click.ClickException(f"not encrypted again, because no key in encryption_keys decrypts them: {values}")
    click.echo("All secrets are encrypted with the first key; no other key in encryption_keys is needed.")


@keys.command()
@click.option(
    "--file",
    type=NonEmptyPath(dir_okay=False, path_type=Path),
    help="Write the key to this file. An existing file is not changed.",
)
def new(file: Path | None) -> None:
    """Print a new key that encrypts secrets in the database.

    To replace the key of a database that exists, append the new one to the setting encryption_keys of all servers,
    after a comma; restart them; then move it to the front, run `keys reencrypt`, and remove the old one.

    With --file, create that file with a new key if it does not exist, and print the keys that it contains. Running this
    again prints the same keys.
    """
    if file is None:
        click.echo(generate_encryption_key())
        return
    try:
        write_key_file(file)
        file_keys = file.read_text().split()
    except OSError as cause:  # which may name the file that is renamed to this one
        raise click.ClickException(f"{file} cannot be used: {cause.strerror}") from cause
    if not file_keys:
        raise click.ClickException(f"{file} contains no key: remove it to create a new one")
    click.echo(",".join(file_keys))
