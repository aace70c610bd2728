"""Sources of settings: keywords, environment variables, the Flask configuration, and fallbacks of the command."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from os import PathLike, fspath
from typing import Any

from . import Settings, SettingsError
from .environment import DEFAULT_PREFIX, Environment, read_environment, read_provider_variables
from .plans import parse_plans
from .provider_sources import list_useless_variables, parse_providers, provider_of_variables
from .value_types import default_of

CONFIG_PREFIX = "VALETKEY_"
OTHER_SETTINGS = frozenset({"trusted_issuers"})  # settings that only ``ResourceServer`` has
_fallbacks: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, repr=False)
class SettingsSources:
    """The sources of an app's settings by precedence: keywords, environment, Flask configuration, fallbacks.

    :param fallbacks: settings of the ``valetkey`` command, such as an issuer derived from ``--port``.
    """

    keywords: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)
    config: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Settings:
        """Return the settings.

        :raises SettingsError: if a name is unknown or a value is invalid; the message lists all problems.
        """
        return read_settings(*self.pairs, ("", self.fallbacks))

    @property
    def pairs(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """The sources without the fallbacks: each with the prefix of its names, and its values by setting name."""
        environment = (self.environment.prefix or "", self.environment.values)
        return ("", self.keywords), environment, (CONFIG_PREFIX, self.config)

    def names_in_code(self, settings: Settings) -> frozenset[str]:
        """Return the names of the settings that a command does not have without the app.

        ``env_prefix`` is one if the app has another prefix of environment variables, or none: then it is all of them. A
        setting that would have the same value without the code of the app is left out.

        :param settings: what ``read`` returned.
        """
        prefix = {"env_prefix"} if self.environment.prefix != DEFAULT_PREFIX else set()
        names = self.keywords.keys() | self.config.keys()
        return frozenset(name for name in names if self._depends_on_code(name, getattr(settings, name))) | prefix

    def _depends_on_code(self, name: str, value: Any) -> bool:
        """Return whether a setting would have another value than this one without the code of the app."""
        (setting,) = (item for item in fields(Settings) if item.name == name)
        without_code = {} if setting.default is MISSING else setting.default
        if name in self.environment.values:
            try:
                without_code = _parse_value(str(setting.type), self.environment.values[name])
            except ValueError:  # a command fails
                return True
        # The type distinguishes the default issuer from the same URL in the code.
        return type(value) is not type(without_code) or bool(value != without_code)

    def without_environment(self) -> SettingsSources:
        """Return the same sources without the environment variables."""
        return replace(self, environment=replace(self.environment, values={}))

    @contextmanager
    def naming_variables(self) -> Iterator[None]:
        """Context manager that adds to a ``SettingsError`` which environment variable or configuration key is wrong.

        Also adds the variables that are no settings: one of them may be the misspelt name of what is missing.
        """
        try:
            yield
        except SettingsError as error:
            problems = [self._name_source(line) for line in str(error).splitlines()]
            raise SettingsError("\n".join([*problems, *self.environment.unknown])) from None

    def _name_source(self, problem: str) -> str:
        """Return a problem with the variables or configuration keys that set the settings which it names."""
        named = [name for name in dict.fromkeys(re.findall(r"[a-z_]+", problem)) if name not in self.keywords]
        variables = [self.environment.variable(name) for name in named if name in self.environment.values]
        keys = [
            f'app.config["{CONFIG_PREFIX}{name.upper()}"]'
            for name in named
            if name in self.config and name not in self.environment.values
        ]
        return f"{problem} (set by {', '.join([*variables, *keys])})" if variables or keys else problem


def find_sources(
    keywords: Mapping[str, Any], config: Mapping[str, Any], env_prefix: str | None, *, built_in_accounts: bool
) -> SettingsSources:
    """Return the sources of the settings of an app with ``Valetkey``.

    :param keywords: keyword arguments of ``Valetkey``.
    :param config: the configuration of the Flask app.
    :param env_prefix: prefix of environment variables; ``None`` to read none.
    :param built_in_accounts: whether accounts are Valetkey's own; only then the variables ``OIDC_...`` are read.
    """
    environment = read_environment(os.environ, env_prefix, {item.name for item in fields(Settings)}, OTHER_SETTINGS)
    fallbacks = get_fallbacks()
    variables = read_provider_variables(os.environ, env_prefix) if built_in_accounts else {}
    if not {"sign_in_with"} & {*keywords, *environment.values, *config_values(config)}:
        environment = replace(environment, unknown=(*environment.unknown, *list_useless_variables(variables)))
    if (provider := provider_of_variables(variables)) is not None:
        fallbacks["sign_in_with"] = (provider,)
    return SettingsSources(keywords, environment, config_values(config), fallbacks)


def set_fallbacks(fallbacks: Mapping[str, Any]) -> None:
    """Set settings with the lowest precedence for Flask apps that are loaded from now on.

    Only the ``valetkey`` command, and the worker processes that it starts, call this.
    """
    global _fallbacks
    _fallbacks = dict(fallbacks)


def get_fallbacks() -> dict[str, Any]:
    """Return the settings that ``set_fallbacks`` set, as a copy."""
    return dict(_fallbacks)


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
                    options[name] = default_of(valid[name])
    try:
        settings = Settings(**options)
    except SettingsError as error:
        problems.extend(str(error).splitlines())
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def config_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a Flask configuration: the values of its keys ``VALETKEY_<NAME>`` by lower-case name."""
    return {
        name.removeprefix(CONFIG_PREFIX).lower(): value
        for name, value in config.items()
        if name.startswith(CONFIG_PREFIX)
    }


def _format_name(prefix: str, name: str) -> str:
    """Return a setting's name as written in its source: ``issuer`` as a keyword, else ``VALETKEY_ISSUER``."""
    return prefix + name.upper() if prefix else name


def _suggest_name(prefix: str, name: str, valid_names: Mapping[str, Any]) -> str:
    close = get_close_matches(name, valid_names, 1)
    return f"; did you mean {_format_name(prefix, close[0])}?" if close else ""


def _parse_value(type_name: str, value: Any) -> Any:
    if type_name == "tuple[SignInProvider, ...]":
        return parse_providers(value)
    if type_name == "Mapping[str, Plan]" and not isinstance(value, str):
        return parse_plans(value)
    if not isinstance(value, str):
        if isinstance(value, PathLike) and type_name.startswith("str"):
            return fspath(value)
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
