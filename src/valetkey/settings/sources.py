"""Settings as they are given: keywords, a Flask configuration, the environment of the ``valetkey`` command."""

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
    """Settings from named sources, the first that has a value winning; texts are read by the field's type.

    :raises SettingsError: on unknown names and on values that cannot be used, all together.
    """
    known = {one.name: one for one in fields(Settings)}
    problems = [
        f"{_format_name(where, name)}: there is no such setting{_suggest_name(where, name, known)}"
        for where, values in sources
        for name in values
        if name not in known
    ]
    given: dict[str, Any] = {}
    for where, values in sources:
        for name, value in values.items():
            if name in known and name not in given:
                try:
                    given[name] = _parse_value(str(known[name].type), value)
                except ValueError as wrong:
                    problems.append(f"{_format_name(where, name)}: {wrong}")
                    given[name] = known[name].default
    try:
        settings = Settings(**given)
    except SettingsError as more:
        problems.extend(str(more).splitlines())
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def environment_values(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in an environment: ``VALETKEY_<NAME>``, without what Kubernetes injects for a service."""
    injected = ("VALETKEY_PORT", "VALETKEY_SERVICE_")
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != "VALETKEY_APP" and not name.startswith(injected)
    }


def config_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a Flask configuration: ``VALETKEY_<NAME>``."""
    return {name.removeprefix(PREFIX).lower(): value for name, value in config.items() if name.startswith(PREFIX)}


def _format_name(prefix: str, name: str) -> str:
    """A setting as it was written there: VALETKEY_ISSUER in the environment, issuer as a keyword."""
    return prefix + name.upper() if prefix else name


def _suggest_name(prefix: str, name: str, valid_names: Mapping[str, Any]) -> str:
    close = get_close_matches(name, valid_names, 1)
    return f"; is {_format_name(prefix, close[0])} meant?" if close else ""


def _parse_value(type_name: str, value: Any) -> Any:
    if type_name == "Mapping[str, Plan]" and not isinstance(value, str):
        return parse_plans(value)
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    if type_name == "int":
        if not value.strip().isdecimal():
            raise ValueError(f"a whole number of seconds is needed, not {value!r}")
        return int(value)
    if type_name == "bool":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise ValueError(f"true or false is needed, not {value!r}")
        return value.lower() in {"true", "1"}
    if type_name.startswith("tuple"):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if type_name.startswith("Mapping"):
        try:
            read = json.loads(value)
        except ValueError as cause:
            like = '{"free": {"limit": "60/minute"}}' if "Plan" in type_name else '{"profile": "See your name"}'
            raise ValueError(f"a JSON object is needed, like {like}") from cause
        return read if isinstance(read, str) else _parse_value(type_name, read)
    return None if type_name.endswith("None") and not value else value


_COMMAND_VALUES: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


def set_command_values(environ: Mapping[str, str], fallbacks: Mapping[str, Any]) -> None:
    """For the ``valetkey`` command and the workers it starts: let apps loaded from now on see the environment.

    :param last: values that count only where nobody gave another, such as an issuer made from ``--port``.
    """
    global _COMMAND_VALUES
    _COMMAND_VALUES = environment_values(environ), dict(fallbacks)


def command_values() -> tuple[dict[str, Any], dict[str, Any]]:
    """The environment's settings and the last resorts; both empty where no ``valetkey`` command runs."""
    return _COMMAND_VALUES


def ignored_variables(environ: Mapping[str, str], settings: Settings) -> list[str]:
    """Environment variables that look like settings and have no effect, because no ``valetkey`` command runs."""
    if any(_COMMAND_VALUES):
        return []
    kinds = {one.name: str(one.type) for one in fields(Settings)}
    unread = []
    for name, value in environment_values(environ).items():
        try:
            has_effect = name in kinds and _parse_value(kinds[name], value) == getattr(settings, name)
        except ValueError:
            has_effect = False
        if not has_effect:
            unread.append(PREFIX + name.upper())
    return sorted(unread)
