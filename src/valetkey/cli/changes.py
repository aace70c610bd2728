"""Show what a command will change, and ask before it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from valetkey.protocol.printable import escape_unprintable

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def confirm_changes(
    subject: str, changes: Mapping[str, tuple[Any, Any]], consequences: tuple[str, ...], *, yes: bool
) -> bool:
    """Print what will change and what follows from it, and ask for confirmation.

    Return ``False`` if nothing would change.

    :param subject: what is changed, such as a client's name.
    :param changes: the old and the new value of each member, by name.
    :raises click.Abort: if the answer is no.
    """
    if not changes:
        click.echo(f"{subject} has these values already.", err=True)
        return False
    click.echo(f"{escape_unprintable(subject)}:", err=True)
    for name, (old, new) in changes.items():
        click.echo(f"  {name}: {_format(old)} -> {_format(new)}", err=True)
    return confirm("Change it?", consequences, yes=yes)


def show_values(subject: str, values: Mapping[str, Any]) -> None:
    """Print the values that a command accepts, by name.

    :param subject: whose values they are, such as a client's id.
    """
    click.echo(f"{escape_unprintable(subject)}:", err=True)
    for name, value in values.items():
        click.echo(f"  {name}: {_format(value)}", err=True)


def confirm(question: str, consequences: tuple[str, ...], *, yes: bool) -> bool:
    """Print consequences and ask a question, unless the option ``--yes`` was given; return ``True``.

    :raises click.Abort: if the answer is no.
    """
    for line in consequences:
        click.echo(line, err=True)
    if not yes:
        click.confirm(question, abort=True, err=True)
    return True


def _format(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    return escape_unprintable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
