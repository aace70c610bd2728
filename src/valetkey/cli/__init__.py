"""The ``valetkey`` command line, for operators: a module for each subcommand, with the subcommand's name."""

from __future__ import annotations

from typing import Any

import click

from valetkey.accounts.sign_in import SignInRefused
from valetkey.authorization_server.clients.service import RegistrationRefused
from valetkey.service import AppNotFound
from valetkey.settings import SettingsError
from valetkey.storage.engine.transaction import StoreUnavailable

from . import (
    audit,
    backup,
    check,
    clients,
    db,
    grants,
    init,
    keys,
    login,
    openapi,
    plans,
    prune,
    resources,
    scopes,
    serve,
    tokens,
    usage,
    users,
    work,
)

_EXPECTED_ERRORS = (SettingsError, StoreUnavailable, RegistrationRefused, SignInRefused, AppNotFound)


class _ErrorHandlingGroup(click.Group):
    """Click group that prints errors which an operator can fix, such as invalid settings, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _EXPECTED_ERRORS as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise click.ClickException("\n  ".join(lines) if len(lines) > 1 else lines[0]) from error


@click.group(cls=_ErrorHandlingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--app", "app", envvar="VALETKEY_APP", help="The Flask app, as module:app or path/to/app.py.")
@click.option("--data-dir", help="Folder of the SQLite store and of generated keys.")
@click.version_option(package_name="valetkey")
@click.pass_context
def main(context: click.Context, app: str | None, data_dir: str | None) -> None:
    """Set up, serve and manage an OAuth 2.0 server with Flask: its database, keys, clients, users and tokens."""
    context.obj = {"app": app, "data_dir": data_dir}


for command in (
    init.init,
    serve.serve,
    work.work,
    login.login,
    check.check,
    openapi.openapi,
    users.users,
    clients.clients,
    scopes.scopes,
    plans.plans,
    usage.usage,
    tokens.tokens,
    resources.resources,
    keys.keys,
    grants.grants,
    audit.audit,
    prune.prune,
    db.db,
    backup.backup,
):
    main.add_command(command)
