"""Load the Flask app that a ``valetkey`` command works on, and the app's ``Runtime`` (settings, database, keys)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask
from flask.cli import ScriptInfo

from valetkey import service
from valetkey.protocol.request_body import parse_json_object
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.protocol.uri import is_loopback_host
from valetkey.runtime import Runtime
from valetkey.settings import Settings, SettingsError
from valetkey.storage import served_as
from valetkey.storage.engine.transaction import DatabaseMissing
from valetkey.storage.schema import check_schema
from valetkey.web.context import EXTENSION

from .served_issuer import find_served_issuer

NO_APP = "No app was loaded: name it with --app, or set VALETKEY_APP."


def load_app(
    context: click.Context, *, allow_resource_server: bool = False, as_served: bool = False, **fallback_settings: Any
) -> Flask:
    """Return the Flask app of ``valetkey --app`` or ``flask valetkey``, else one that is only an authorization server.

    The issuer is by default the one that ``valetkey serve`` used last.

    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :param as_served: whether the app must have the issuer that it has under any WSGI server, and no other default.
    :param fallback_settings: values of settings that neither the environment nor the app sets.
    :raises AppNotFound: if the app cannot be loaded.
    :raises SettingsError: if the settings are invalid.
    """
    options = get_global_options(context)
    script = context.find_object(ScriptInfo)  # called as `flask valetkey`
    if script is None:
        os.environ.pop(service.FLASK_APP_VARIABLE, None)
    else:
        os.environ[service.FLASK_APP_VARIABLE] = script.app_import_path or ""
    if options.get("app"):
        os.environ[service.APP_VARIABLE] = options["app"]
    if options.get("data_dir"):
        os.environ["VALETKEY_DATA_DIR"] = options["data_dir"]
    defaults = {
        "data_dir": options.get("data_dir"),  # for an app that does not read VALETKEY_DATA_DIR
        "issuer": None if as_served else find_served_issuer(options.get("data_dir")),
    }
    defaults = {name: value for name, value in defaults.items() if value}
    os.environ[service.FALLBACK_SETTINGS_VARIABLE] = json.dumps(
        {**defaults, **fallback_settings}  # `serve` passes an issuer with its own port
    )
    with Runtime.loading_for_command():  # `valetkey work` has a worker of its own
        return service.load_configured_app(script=script, allow_resource_server=allow_resource_server)


def get_global_options(context: click.Context) -> dict[str, Any]:
    """Return the options before the subcommand, ``app`` and ``data_dir``, by name.

    Return an empty dict if the command is called as ``flask valetkey``.
    """
    return context.find_object(dict) or {}


def _check_server_settings(runtime: Runtime, names: tuple[str, ...]) -> None:
    """Check that the command has these settings from where the server of the database has them.

    An issuer that something sets may be another one than the server's, which is restarted later.

    :raises SettingsError: if it does not; the message says what to set.
    """
    server = served_as.find(runtime.store)
    if server is None:
        return
    in_code = [name for name in server.code_settings.split() if name in {*names, "env_prefix"}]
    if in_code and not service.is_app_named():
        raise SettingsError(
            f"the code of the app {server.app}, which uses this database, sets {', '.join(in_code)}: pass --app, or "
            f"set {service.APP_VARIABLE}"
        )
    if "issuer" not in names:
        return
    is_set = any("issuer" in values for _, values in runtime.sources.pairs)
    is_public = not is_loopback_host(urlsplit(server.issuer).hostname)
    if is_public and not is_set and server.issuer != runtime.settings.issuer:
        raise SettingsError(
            f"the issuer of this database's server is {server.issuer}, and no issuer is set here: set "
            f"{runtime.sources.environment.variable('issuer')}={server.issuer}"
        )


@contextmanager
def _noting_a_missing_app(settings: Settings) -> Iterator[None]:
    """Context manager that adds ``NO_APP`` to an error if no app is loaded, and nothing else names scopes.

    The cause may be that the command works without the app's settings. Failures of a backend have another one, unless
    the app has another database.
    """
    try:
        yield
    except Exception as error:
        is_failure = isinstance(error, (BackendUnavailable, OSError)) and not isinstance(error, DatabaseMissing)
        if not is_failure and not service.is_app_named() and not settings.scopes:
            error.add_note(NO_APP)
        raise


def with_runtime(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command function so that its first argument is the app's ``Runtime`` (settings, database, keys).

    The runtime is closed when the command ends.
    """
    return with_server_settings()(command)


def with_server_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator like ``with_runtime`` for a command whose result depends on these settings.

    The command fails if a server with an app uses the database, the settings are in the code of the app, and the
    command works without it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.pass_context
        @wraps(command)
        def run(context: click.Context, *args: Any, **kwargs: Any) -> None:
            runtime: Runtime = load_app(context).extensions[EXTENSION]
            runtime.store.allow_slow_statements()
            try:
                with _noting_a_missing_app(runtime.settings):
                    check_schema(runtime.store)  # nothing is created: a missing database is an error
                    runtime.get_ready()
                if names:  # after this check, the app would make no difference
                    _check_server_settings(runtime, names)
                with nullcontext() if names else _noting_a_missing_app(runtime.settings):
                    command(runtime, *args, **kwargs)
            finally:
                runtime.close()

        return run

    return decorate


def read_json_file(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file contains.

    :raises click.ClickException: if the file contains no JSON object.
    """
    try:
        return parse_json_object(path.read_bytes())
    except ValueError as cause:
        raise click.ClickException(f"{path} is not a JSON object: {cause}") from cause
