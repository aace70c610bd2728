"""Sources of settings: keywords, the Flask configuration and the environment of the ``valetkey`` command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from . import Settings, SettingsError
from .plans import parse_plans

PREFIX = "VALETKEY_"


def read_settings(*sources: tuple[str, Mapping[str, Any]]) -> Settings:
    """Return the settings from several sources; the first source that has a value takes precedence.

    :param sources: pairs of a name prefix for error messages, such as ``VALETKEY_``, and the values by setting name.
        Texts are converted to the type of the setting.
    :raises SettingsError: if a name is unknown or a value is invalid; the message lists all problems.
    """
    valid = {setting.name: setting for setting in fields(Settings)}
    problems = [
        f"{_format_name(prefix, name)}: unknown setting{_suggest_name(prefix, name, valid)}"
        for prefix, values in sources
        for name in values
        if name not in valid
    ]
    options: dict[str, Any] = {}
    for prefix, values in sources:
        for name, value in values.items():
            if name in valid and name not in options:
                try:
                    options[name] = _parse_value(str(valid[name].type), value)
                except ValueError as problem:
                    problems.append(f"{_format_name(prefix, name)}: {problem}")
                    options[name] = valid[name].default
    try:
        settings = Settings(**options)
    except SettingsError as error:
        problems.extend(str(error).splitlines())
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def environment_values(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings in environment variables ``VALETKEY_<NAME>``: texts by lower-case setting name.

    Variables that Kubernetes injects for a service called "valetkey" are ignored.
    """
    injected = ("VALETKEY_PORT", "VALETKEY_SERVICE_")
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != "VALETKEY_APP" and not name.startswith(injected)
    }


def config_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a Flask configuration: the values of its keys ``VALETKEY_<NAME>`` by lower-case name."""
    return {name.removeprefix(PREFIX).lower(): value for name, value in config.items() if name.startswith(PREFIX)}


def _format_name(prefix: str, name: str) -> str:
    """Return a setting's name as written in its source: ``issuer`` as a keyword, else ``VALETKEY_ISSUER``."""
    return prefix + name.upper() if prefix else name


def _suggest_name(prefix: str, name: str, valid_names: Mapping[str, Any]) -> str:
    close = get_close_matches(name, valid_names, 1)
    return f"; did you mean {_format_name(prefix, close[0])}?" if close else ""


def _parse_value(type_name: str, value: Any) -> Any:
    if type_name == "Mapping[str, Plan]" and not isinstance(value, str):
        return parse_plans(value)
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    if type_name == "int":
        if not value.strip().isdecimal():
            raise ValueError(f"must be a whole number, not {value!r}")
        return int(value)
    if type_name == "bool":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise ValueError(f"must be true or false, not {value!r}")
        return value.lower() in {"true", "1"}
    if type_name.startswith("tuple"):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if type_name.startswith("Mapping"):
        try:
            parsed = json.loads(value)
        except ValueError as cause:
            example = '{"free": {"limit": "60/minute"}}' if "Plan" in type_name else '{"profile": "See your name"}'
            raise ValueError(f"must be a JSON object, like {example}") from cause
        return parsed if isinstance(parsed, str) else _parse_value(type_name, parsed)
    return None if type_name.endswith("None") and not value else value


_COMMAND_VALUES: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


def set_command_values(environ: Mapping[str, str], fallbacks: Mapping[str, Any]) -> None:
    """Make Flask apps that are loaded from now on take settings from environment variables.

    Only the ``valetkey`` command, and the worker processes that it starts, call this.

    :param environ: the environment variables.
    :param fallbacks: settings with the lowest precedence, such as an issuer derived from ``--port``.
    """
    global _COMMAND_VALUES
    _COMMAND_VALUES = environment_values(environ), dict(fallbacks)


def command_values() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two dictionaries: settings from environment variables, and fallbacks with the lowest precedence.

    Both are empty unless the ``valetkey`` command runs the app.
    """
    return _COMMAND_VALUES


def ignored_variables(environ: Mapping[str, str], settings: Settings) -> list[str]:
    """Return the names of ``VALETKEY_`` environment variables that have no effect, sorted.

    Only the ``valetkey`` command reads these variables: if it runs the app, the list is empty. A variable that equals
    the setting in effect is not returned.
    """
    if any(_COMMAND_VALUES):
        return []
    types = {setting.name: str(setting.type) for setting in fields(Settings)}
    ignored = []
    for name, value in environment_values(environ).items():
        try:
            has_effect = name in types and _parse_value(types[name], value) == getattr(settings, name)
        except ValueError:
            has_effect = False
        if not has_effect:
            ignored.append(PREFIX + name.upper())
    return sorted(ignored)
