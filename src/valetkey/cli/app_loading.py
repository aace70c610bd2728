"""Load the Flask app that a ``valetkey`` command works on, and the app's ``Runtime`` (settings, database, keys)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo

from valetkey import service
from valetkey.protocol.request_body import parse_json_object
from valetkey.runtime import Runtime
from valetkey.web.context import EXTENSION

from .served_issuer import find_served_issuer


def load_app(context: click.Context, *, allow_resource_server: bool = False, **fallback_settings: Any) -> Flask:
    """Return the Flask app of ``valetkey --app`` or ``flask valetkey``, else one that is only an authorization server.

    The app reads its settings from the environment. The issuer is by default the one that ``valetkey serve`` used last.

    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :param fallback_settings: values of settings that neither the environment nor the app sets.
    :raises AppNotFound: if the app cannot be loaded.
    :raises SettingsError: if the settings are invalid.
    """
    options = get_global_options(context)
    script = context.find_object(ScriptInfo)  # called as `flask valetkey`: Flask loads the app
    if script is not None and not options.get("app"):
        return script.load_app()
    if options.get("app"):
        os.environ[service.APP_VARIABLE] = options["app"]
    if options.get("data_dir"):
        os.environ["VALETKEY_DATA_DIR"] = options["data_dir"]
    issuer = find_served_issuer(options.get("data_dir"))  # `serve` passes its own, which has its port
    last_issuer = {"issuer": issuer} if issuer else {}
    os.environ[service.FALLBACK_SETTINGS_VARIABLE] = json.dumps(
        {"embedded_worker": False, **last_issuer, **fallback_settings}
    )
    return service.load_configured_app(allow_resource_server=allow_resource_server)


def get_global_options(context: click.Context) -> dict[str, Any]:
    """Return the options before the subcommand, ``app`` and ``data_dir``, by name.

    Return an empty dict if the command is called as ``flask valetkey``.
    """
    return context.find_object(dict) or {}


def load_runtime(context: click.Context) -> Runtime:
    """Return the ``Runtime`` of the app that the command works on, with its database checked.

    A SQLite database is created if there is none.

    :raises StoreUnavailable: if the database does not respond, or its schema is older or newer than this code needs.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    runtime.get_ready()
    return runtime


def with_runtime(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command function so that its first argument is the app's ``Runtime`` (settings, database, keys).

    The runtime is closed when the command ends.
    """

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, *args: Any, **kwargs: Any) -> None:
        runtime = load_runtime(context)
        try:
            command(runtime, *args, **kwargs)
        finally:
            runtime.close()

    return run


def read_json_file(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file contains.

    :raises click.ClickException: if the file contains no JSON object.
    """
    try:
        return parse_json_object(path.read_bytes())
    except ValueError as cause:
        raise click.ClickException(f"{path} holds no JSON object: {cause}") from cause
