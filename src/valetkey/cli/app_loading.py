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
from valetkey.storage.schema import check_schema
from valetkey.web.context import EXTENSION

from .served_issuer import find_served_issuer


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
        {"embedded_worker": False, **defaults, **fallback_settings}  # `serve` passes an issuer with its own port
    )
    return service.load_configured_app(script=script, allow_resource_server=allow_resource_server)


def get_global_options(context: click.Context) -> dict[str, Any]:
    """Return the options before the subcommand, ``app`` and ``data_dir``, by name.

    Return an empty dict if the command is called as ``flask valetkey``.
    """
    return context.find_object(dict) or {}


def load_runtime(context: click.Context) -> Runtime:
    """Return the ``Runtime`` of the app that the command works on, with its database checked.

    Nothing is created: a missing database is an error, as ``data_dir`` may be wrong.

    :raises StoreUnavailable: if the database does not exist or does not respond, or its schema is older or newer than
        this code needs.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    check_schema(runtime.store)
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
        raise click.ClickException(f"{path} is not a JSON object: {cause}") from cause
