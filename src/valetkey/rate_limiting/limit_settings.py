"""The settings that are limits."""

from __future__ import annotations

from dataclasses import fields

from valetkey.settings import Settings, SettingsError

from .limit import Limit, parse_limit


def read_limits(settings: Settings) -> dict[str, Limit]:
    """The settings that are limits, by name.

    :raises SettingsError: with every one that cannot be: at the start, not when somebody signs in.
    """
    read, problems = {}, []
    for name in (one.name for one in fields(settings) if one.name.endswith("_limit")):
        try:
            read[name] = parse_limit(getattr(settings, name))
        except ValueError as problem:
            problems.append(f"{name}: {problem}")
    if problems:
        raise SettingsError("\n".join(problems))
    return read
