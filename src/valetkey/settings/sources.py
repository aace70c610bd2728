"""Settings as they are given: keywords, a Flask configuration, the environment of the ``valetkey`` command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from . import Settings, SettingsError
from .plans import read_plans

PREFIX = "VALETKEY_"


def read_settings(*sources: tuple[str, Mapping[str, Any]]) -> Settings:
    """Settings from named sources, the first that has a value winning; texts are read by the field's type.

    :raises SettingsError: on unknown names and on values that cannot be used, all together.
    """
    known = {one.name: one for one in fields(Settings)}
    problems = [
        f"{_spelt(where, name)}: there is no such setting{_meant(where, name, known)}"
        for where, values in sources
        for name in values
        if name not in known
    ]
    given: dict[str, Any] = {}
    for where, values in sources:
        for name, value in values.items():
            if name in known and name not in given:
                try:
                    given[name] = _read(str(known[name].type), value)
                except ValueError as wrong:
                    problems.append(f"{_spelt(where, name)}: {wrong}")
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


def _spelt(where: str, name: str) -> str:
    """A setting as it was written there: VALETKEY_ISSUER in the environment, issuer as a keyword."""
    return where + name.upper() if where else name


def _meant(where: str, name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, 1)
    return f"; is {_spelt(where, close[0])} meant?" if close else ""


def _read(kind: str, value: Any) -> Any:
    if kind == "Mapping[str, Plan]" and not isinstance(value, str):
        return read_plans(value)
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    if kind == "int":
        if not value.strip().isdecimal():
            raise ValueError(f"a whole number of seconds is needed, not {value!r}")
        return int(value)
    if kind == "bool":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise ValueError(f"true or false is needed, not {value!r}")
        return value.lower() in {"true", "1"}
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if kind.startswith("Mapping"):
        try:
            read = json.loads(value)
        except ValueError as cause:
            like = '{"free": {"limit": "60/minute"}}' if "Plan" in kind else '{"profile": "See your name"}'
            raise ValueError(f"a JSON object is needed, like {like}") from cause
        return read if isinstance(read, str) else _read(kind, read)
    return None if kind.endswith("None") and not value else value


_COMMAND: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


def use_command_values(environ: Mapping[str, str], last: Mapping[str, Any]) -> None:
    """For the ``valetkey`` command and the workers it starts: let apps loaded from now on see the environment.

    :param last: values that count only where nobody gave another, such as an issuer made from ``--port``.
    """
    global _COMMAND
    _COMMAND = environment_values(environ), dict(last)


def command_values() -> tuple[dict[str, Any], dict[str, Any]]:
    """The environment's settings and the last resorts; both empty where no ``valetkey`` command runs."""
    return _COMMAND


def unread_variables(environ: Mapping[str, str], settings: Settings) -> list[str]:
    """Environment variables that look like settings and have no effect, because no ``valetkey`` command runs."""
    if any(_COMMAND):
        return []
    kinds = {one.name: str(one.type) for one in fields(Settings)}
    unread = []
    for name, value in environment_values(environ).items():
        try:
            has_effect = name in kinds and _read(kinds[name], value) == getattr(settings, name)
        except ValueError:
            has_effect = False
        if not has_effect:
            unread.append(PREFIX + name.upper())
    return sorted(unread)
