"""Settings in environment variables: the prefix of their names, and variables that are no settings."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches

from . import Settings

DEFAULT_PREFIX = "VALETKEY_"
# Variables of the `valetkey` command that are no settings, without the prefix. `valetkey login` sets VALETKEY_TOKEN.
_COMMAND_VARIABLES = frozenset({"APP", "TOKEN"})
# Kubernetes adds such variables for each service, and the name of a service may begin like the prefix.
_is_kubernetes_variable = re.compile(r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_.+)?)").fullmatch
_log = logging.getLogger("valetkey")
_NULLABLE = frozenset(item.name for item in fields(Settings) if str(item.type).endswith("None"))
_is_ignored = False
_used_prefixes = {DEFAULT_PREFIX}


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment variables of one app: the values of its settings, and variables that have no effect.

    :param prefix: the prefix of the variables; ``None`` if the app reads no settings from the environment.
    :param values: texts by lower-case setting name.
    :param unknown: names of variables with the prefix that are no settings, each with a suggestion of a similar name.
    :param other: names of variables with the prefix that are settings of the other extension: of ``Valetkey`` if the
        app has a ``ResourceServer``, and the reverse.
    """

    prefix: str | None = None
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # some are secret
    unknown: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    def variable(self, setting: str) -> str:
        """Return the name of the environment variable of a setting; the setting's name if the app reads none."""
        return setting if self.prefix is None else f"{self.prefix}{setting.upper()}"


def read_environment(
    environ: Mapping[str, str], prefix: str | None, settings: Collection[str], other_settings: Collection[str] = ()
) -> Environment:
    """Return the settings in environment variables, whose names are the prefix and the upper-case setting name.

    An empty variable counts as not set, such as one that a compose file takes from a variable that is missing; but if a
    setting can be ``None``, that is what an empty variable means.

    With a prefix of the app's own, variables that are no settings are taken for the app's, unless they are similar to
    the name of a setting.

    :param prefix: such as ``VALETKEY_``; ``None`` to read no variables.
    :param settings: the names of the app's settings.
    :param other_settings: the names of settings that only the other extension has.
    """
    if prefix is None or _is_ignored:
        return Environment(prefix)
    _used_prefixes.add(prefix)
    values, unknown, other = {}, [], []
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        name = variable.removeprefix(prefix)
        if name.isupper() and name.lower() in settings:
            if environ[variable] or name.lower() in _NULLABLE:
                values[name.lower()] = environ[variable]
        elif name.isupper() and name.lower() in other_settings:
            other.append(variable)
        elif not (name in _COMMAND_VARIABLES or _is_kubernetes_variable(name) or _has_longer_prefix(variable, prefix)):
            close = get_close_matches(name.lower(), settings, 1, 0.6 if prefix == DEFAULT_PREFIX else 0.8)
            suggestion = f"; did you mean {prefix}{close[0].upper()}?" if close else ""
            if suggestion or prefix == DEFAULT_PREFIX:
                unknown.append(f"{variable}: unknown setting{suggestion}")
    return Environment(prefix, values, tuple(unknown), tuple(other))


def read_provider_variables(environ: Mapping[str, str], prefix: str | None) -> dict[str, str]:
    """Return the variables ``OIDC_...`` of an app with the default prefix, by name; else an empty dict."""
    if prefix != DEFAULT_PREFIX or _is_ignored:
        return {}
    return {name: value for name, value in environ.items() if name.startswith("OIDC_")}


def log_environment(environment: Environment) -> None:
    """Log a warning that names the environment variables which have no effect, without their values."""
    if environment.unknown:
        _log.warning("environment variables without effect: %s", "; ".join(environment.unknown))
    if environment.other:
        _log.warning("environment variables without effect on this app: %s", ", ".join(environment.other))


def ignore_environment() -> None:
    """Make apps that are created from now on read no settings from the environment. For ``valetkey.testing``."""
    global _is_ignored
    _is_ignored = True


def _has_longer_prefix(variable: str, prefix: str) -> bool:
    """Return whether a variable has the longer prefix of another app in this process, such as ``VALETKEY_SHOP_``."""
    return any(len(other) > len(prefix) and variable.startswith(other) for other in _used_prefixes)
