"""The runtime that a command works on: the app's of ``--app``, or the bare service's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
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

from .printing import format_time
from .served_issuer import find_served_issuer


def load_app(context: click.Context, *, allow_resource_server: bool = False, **fallback_settings: Any) -> Flask:
    """The app, with the environment's settings; ``last`` counts where nobody set a value.

    :param may_be_alone: whether an app that is a resource server alone will do.
    """
    given = get_global_options(context)
    script = context.find_object(ScriptInfo)  # called as `flask valetkey`: Flask knows the app
    if script is not None and not given.get("app"):
        return script.load_app()
    if given.get("app"):
        os.environ[service.APP_VARIABLE] = given["app"]
    if given.get("data_dir"):
        os.environ["VALETKEY_DATA_DIR"] = given["data_dir"]
    issuer = find_served_issuer(given.get("data_dir"))  # serve's own comes from its port
    before = {"issuer": issuer} if issuer else {}
    os.environ[service.FALLBACK_SETTINGS_VARIABLE] = json.dumps(
        {"embedded_worker": False, **before, **fallback_settings}
    )
    return service.load_configured_app(allow_resource_server=allow_resource_server)


def get_global_options(context: click.Context) -> dict[str, Any]:
    """What stood before the command's name: ``app`` and ``data_dir``."""
    return context.find_object(dict) or {}


def load_runtime(context: click.Context) -> Runtime:
    """The runtime, its store checked.

    :raises StoreUnavailable: where the store is not there, or older or newer than this code.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    runtime.get_ready()
    return runtime


def with_runtime(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the runtime as its first argument, and close it afterwards."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, *args: Any, **kwargs: Any) -> None:
        runtime = load_runtime(context)
        try:
            command(runtime, *args, **kwargs)
        finally:
            runtime.close()

    return run


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print an answer: as JSON for scripts, else a line for each member."""
    if as_json:
        click.echo(json.dumps(result))
        return
    shown = {name: value for name, value in result.items() if value is not None and value != []}
    width = max(map(len, shown), default=0) + 1
    for name, value in shown.items():
        for number, line in enumerate(value if isinstance(value, list) else [value]):
            click.echo(f"{'' if number else name + ':':<{width}} {_format_value(name, line)}")


def _format_value(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, int | float):
        return f"{format_time(value)} UTC"
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)


def read_json_file(path: Path) -> dict[str, Any]:
    """The JSON object in a file that an option names."""
    try:
        return parse_json_object(path.read_bytes())
    except ValueError as cause:
        raise click.ClickException(f"{path} holds no JSON object: {cause}") from cause


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
