"""The ``valetkey`` command line, for operators: a module for each subcommand, with the subcommand's name.

A module is imported when its command is used: ``valetkey --help`` would otherwise take seconds.
"""

from __future__ import annotations

import errno
import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from .option_values import refuse_empty

# The commands and the first sentence of their help.
_COMMANDS = {
    "init": "Create or upgrade the database, and create signing keys.",
    "serve": "Serve a Flask app, or only an authorization server.",
    "work": "Send queued mail, and run hourly tasks.",
    "login": "Sign in through the browser and print an access token.",
    "check": "Check the app's settings, routes, database and keys.",
    "openapi": "Write the API's OpenAPI document, or check its compatibility.",
    "users": "Create and manage Valetkey's own user accounts.",
    "clients": "Register and manage OAuth clients: apps that use the API.",
    "scopes": "List the scopes that apps can request.",
    "plans": "Manage plans of apps: their rate limit, quota and scopes.",
    "usage": "Show how often apps called each route, by HTTP status.",
    "tokens": "List, create and revoke users' personal access tokens.",
    "resources": "Manage resources: the APIs that tokens can be for.",
    "keys": "Manage signing keys, and generate encryption keys.",
    "grants": "List and revoke what users allowed apps to do.",
    "audit": "Show or export the log of security events.",
    "outbox": "List, retry and drop background jobs: mail and logout tokens.",
    "prune": "Delete expired codes, tokens and sessions from the database.",
    "db": "Show or upgrade the schema of the database.",
    "backup": "Copy the SQLite database to FILE while it is in use.",
    "restore": "Put a backup in the place of the SQLite database.",
    "revoke-all": "End all sessions and revoke all tokens.",
}


_GLOBAL_OPTIONS = {"--app", "--data-dir"}  # of the group


class _CommandGroup(click.Group):
    """The commands, each imported when it is used.

    It prints errors which an operator can fix, such as invalid settings, without a traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        gc.disable()  # imports leave hardly any garbage, and looking for it takes 8 % of their time
        try:
            command: click.Command = getattr(import_module(f".{name}", __name__), name)
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(ctx)])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _explained_errors():  # --help and --version write their text here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _explained_errors():
            return super().invoke(ctx)


@contextmanager
def _explained_errors() -> Iterator[None]:
    """Context manager that turns errors which an operator can fix into ``click.ClickException``."""
    try:
        yield
    except click.NoSuchOption as error:
        name = error.option_name
        if name not in _GLOBAL_OPTIONS:
            raise
        message = f"{name} belongs before the command: valetkey {name} VALUE COMMAND"  # `flask` takes it in both places
        raise click.NoSuchOption(name, message, ctx=error.ctx) from error
    except (click.UsageError, click.Abort, click.exceptions.Exit):
        raise
    except click.ClickException as error:
        notes = getattr(error, "__notes__", ())
        if not notes:
            raise
        raise click.ClickException("\n".join([error.message, *notes])) from error
    except UnicodeError as error:
        if getattr(error, "encoding", "") != "utf-8":  # such as that of a terminal, or of host names
            raise
        raise click.ClickException("an argument, a file or standard input is not UTF-8 text") from error
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:  # such as of a pipe that its reader has closed
            raise
        name = error.filename or "a file or the output"
        raise click.ClickException(f"{name} cannot be used: {error.strerror or error}") from error
    except Exception as error:
        if not _is_expected(error):
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise click.ClickException("\n".join(["\n  ".join(lines), *getattr(error, "__notes__", ())])) from error


def _is_expected(error: Exception) -> bool:
    """Return whether the message of an exception says all that an operator needs."""
    from valetkey.accounts.errors import SignInRefused
    from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
    from valetkey.authorization_server.plans.service import SubscriptionRefused
    from valetkey.protocol.unavailable import BackendUnavailable
    from valetkey.service import AppNotFound
    from valetkey.settings import SettingsError

    refusals = (RegistrationRefused, SubscriptionRefused, SignInRefused)
    return isinstance(error, (SettingsError, BackendUnavailable, AppNotFound, *refusals))


@click.group(cls=_CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--app",
    envvar="VALETKEY_APP",
    callback=refuse_empty,
    help="The Flask app, as module:app or path/to/app.py.",
)
@click.option("--data-dir", callback=refuse_empty, help="Folder of the SQLite database and of generated keys.")
@click.version_option(package_name="valetkey")
@click.pass_context
def main(context: click.Context, app: str | None, data_dir: str | None) -> None:
    """Set up, serve and manage an OAuth 2.0 server with Flask: its database, keys, clients, users and tokens."""
    if sys.stdin is None:  # it is closed, which is taken as empty
        sys.stdin = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr: what the terminal cannot show is escaped
    context.obj = {"app": app, "data_dir": data_dir}
