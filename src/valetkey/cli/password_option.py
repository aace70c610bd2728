"""The option ``--password-stdin`` of ``valetkey users create`` and ``valetkey users password``."""

from __future__ import annotations

import secrets
import sys

import click

password_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


def read_or_generate_password(password_stdin: bool) -> str:
    """Return the first line of standard input, or a generated password without ``--password-stdin``.

    :raises click.UsageError: if the line is empty or there is none, such as from a file that is not yet written.
    """
    if not password_stdin:
        return secrets.token_urlsafe(12)
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError(
            "--password-stdin: standard input contains no password; without this option, a password is generated"
        )
    return password
