"""Checks of the settings: functions that return one sentence per problem, or an empty list if there is none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import fields
from typing import TYPE_CHECKING, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.protocol.display_name import invisible_character_problem
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.redirect_uri import private_use_scheme_problem
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.size import parse_size
from valetkey.protocol.uri import resource_uri_problem

from .claims import scope_claims_problems
from .connection_checks import check_mail, check_networks, check_urls
from .plans import plan_problems
from .providers import provider_problems
from .value_types import default_of, type_problems

if TYPE_CHECKING:
    from . import Settings

_HOUR, _DAY = 3600, 86400
_DERIVED_FROM = {"tokens_path": "personal_access_tokens_path"}  # property of Settings: the setting it derives from
_PATH_SETTINGS = (
    *("oauth_path", "account_path", "device_path", "api_prefix", "tokens_path"),
    *("openapi_path", "docs_path", "llms_txt_path", "health_path", "readiness_path"),
)
_LIFETIMES_S = {  # by setting: the shortest and the longest, in seconds
    "access_token_lifetime": (1, _DAY),
    "id_token_lifetime": (1, _DAY),
    "authorization_code_lifetime": (1, 600),
    "device_code_lifetime": (60, _HOUR),
    "refresh_token_lifetime": (60, 366 * _DAY),
    "personal_access_token_lifetime": (_DAY, 366 * _DAY),
    "refresh_retry_window": (0, 60),
    "interaction_lifetime": (30, _HOUR),
    "mail_link_lifetime": (300, _DAY),
    "session_lifetime": (60, 90 * _DAY),
    "clock_leeway": (0, 60),
}
_SIGN_IN_URL_STARTS = ("/", "https://", "http://")
_RANGES = {"database_connections": (2, 1000), "unused_registration_days": (0, 3650), "audit_retention_days": (0, 36500)}


def _check_issuer(settings: Settings) -> list[str]:
    problem = resource_uri_problem(settings.issuer)
    if problem:
        return [f"issuer {settings.issuer!r} cannot be used: {problem}"]
    parts = urlsplit(settings.issuer)
    problems = []
    if parts.scheme != "https" and settings.is_production:
        problems.append(
            f"issuer {settings.issuer!r} uses http, which is allowed on loopback addresses only: set issuer to an "
            "https:// URL (RFC 8414 §2)"
        )
    if parts.query:
        problems.append("issuer must have no query (RFC 8414 §2)")
    if settings.issuer.endswith("/"):
        problems.append(f"issuer must not end in a slash: use {settings.issuer.rstrip('/')!r}")
    return problems


def _check_resource(settings: Settings) -> list[str]:
    problem = resource_uri_problem(settings.resource) if settings.resource else None
    return [f"resource {settings.resource!r} cannot be used: {problem}"] if problem else []


def _check_scopes(settings: Settings) -> list[str]:
    if not isinstance(settings.scopes, Mapping):
        return ['scopes must map each scope to a description, like {"profile": "See your name"}']
    problems = []
    for name, description in settings.scopes.items():
        try:
            is_valid = isinstance(name, str) and parse_scope(name) == {name}
        except InvalidScope:
            is_valid = False
        if not is_valid:
            problems.append(f"scopes: {name!r} is not a scope name (RFC 6749 §3.3)")
        if not isinstance(description, str) or not description.strip():
            problems.append(f"scopes: {name!r} needs a description for the consent page")
        elif problem := invisible_character_problem(description):
            problems.append(f"scopes: the description of {name!r} {problem}")
    return problems


def _check_site_name(settings: Settings) -> list[str]:
    problem = invisible_character_problem(settings.site_name)
    return [f"site_name {problem}"] if problem else []


def _check_scope_claims(settings: Settings) -> list[str]:
    return scope_claims_problems(settings.scope_claims, settings.known_scopes) if settings.scope_claims else []


def _check_personal_tokens(settings: Settings) -> list[str]:
    if not isinstance(settings.scopes, Mapping):
        return []  # another check reports that
    api_scope = {settings.personal_access_token_api_scope} - {None}
    unknown = sorted({*settings.personal_access_token_scopes, *api_scope} - set(settings.scopes), key=str)
    subject = "personal_access_token_scopes, personal_access_token_api_scope"
    problems = [f"{subject}: {name!r} is not in scopes" for name in unknown]
    for name in sorted({"openid", "offline_access"} & {*settings.personal_access_token_scopes, *api_scope}):
        problems.append(f"{subject}: personal access tokens cannot have the scope {name}")
    return problems


def _check_plans(settings: Settings) -> list[str]:
    return plan_problems(settings.plans, settings.default_plan, settings.scopes)


def _check_providers(settings: Settings) -> list[str]:
    problems = provider_problems(settings.sign_in_with)
    if not settings.password_sign_in and not settings.sign_in_with:
        problems.append("password_sign_in is false, but sign_in_with has no provider: add one, or users cannot sign in")
    return problems


def _check_paths(settings: Settings) -> list[str]:
    paths = {_DERIVED_FROM.get(name, name): getattr(settings, name) for name in _PATH_SETTINGS}
    problems = [
        f"{name} must begin with a slash and not end in one"
        for name, path in paths.items()
        if path is not None and (not str(path).startswith("/") or str(path).endswith("/"))
    ]
    first: dict[str, str] = {}
    for name, path in paths.items():
        if path is not None and first.setdefault(path, name) != name:
            problems.append(f"{name} and {first[path]} are both {path!r}: each needs a path of its own")
    return problems


def _check_sign_in_url(settings: Settings) -> list[str]:
    url = settings.sign_in_url
    if url is None or (url.startswith(_SIGN_IN_URL_STARTS) and url.isprintable() and " " not in url):
        return []
    return [f"sign_in_url must be a path that begins with a slash, like /login, or a URL, not {url!r}"]


def _check_max_body(settings: Settings) -> list[str]:
    try:
        parse_size(settings.max_body or 0)
    except ValueError as problem:
        return [f"max_body: {problem}"]
    return []


def _check_lifetimes(settings: Settings) -> list[str]:
    return [
        f"{name} must be between {low} and {high} seconds, not {getattr(settings, name)!r}"
        for name, (low, high) in _LIFETIMES_S.items()
        if not low <= getattr(settings, name) <= high
    ]


def _check_encryption_keys(settings: Settings) -> list[str]:
    problems = []
    for number, key in enumerate(settings.encryption_keys, 1):
        try:
            is_valid = len(base64.b64decode(key, validate=True)) == 32
        except (binascii.Error, ValueError):
            is_valid = False
        if not is_valid:
            problems.append(
                f"encryption_keys: key {number} is not base64 of 32 bytes; generate one with `valetkey keys new`"
            )
    if settings.is_production and not settings.encryption_keys and not settings.store_url.startswith("sqlite"):
        problems.append(
            "encryption_keys must be set if several machines can share the database; generate a key with "
            "`valetkey keys new`"
        )
    return problems


def _check_choices(settings: Settings) -> list[str]:
    """Check the settings that ``Settings`` declares with a ``Literal``."""
    problems = []
    for name, expected in get_type_hints(type(settings)).items():
        if get_origin(expected) is Literal and getattr(settings, name) not in get_args(expected):
            *others, last = [repr(choice) for choice in get_args(expected) if choice]
            problems.append(f"{name} must be {', '.join(others)} or {last}")
    if settings.registration_profile is not None and settings.registration_profile not in CLIENT_POLICIES:
        problems.append(f"registration_profile must be one of {', '.join(CLIENT_POLICIES)}")
    if settings.log_level.upper() not in {"", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        problems.append("log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, or empty")
    return problems


def _check_ranges(settings: Settings) -> list[str]:
    return [
        f"{name} must be between {low} and {high}"
        for name, (low, high) in _RANGES.items()
        if not low <= getattr(settings, name) <= high
    ]


def _check_api_version(settings: Settings) -> list[str]:
    return [] if settings.api_version.strip() else ["api_version must not be empty"]


def _check_private_use_schemes(settings: Settings) -> list[str]:
    checked = ((scheme, private_use_scheme_problem(scheme)) for scheme in settings.private_use_schemes)
    return [f"private_use_schemes: {scheme!r} cannot be admitted: {problem}" for scheme, problem in checked if problem]


_CHECKS: tuple[Callable[[Settings], list[str]], ...] = (
    _check_issuer,
    _check_resource,
    _check_scopes,
    _check_site_name,
    _check_scope_claims,
    _check_personal_tokens,
    _check_plans,
    _check_providers,
    _check_paths,
    _check_sign_in_url,
    _check_max_body,
    _check_lifetimes,
    _check_encryption_keys,
    _check_choices,
    _check_ranges,
    check_urls,
    _check_api_version,
    _check_private_use_schemes,
    check_mail,
    check_networks,
)


def find_problems(settings: Settings) -> list[str]:
    """Return one sentence for each problem of the settings.

    A setting that has a value of another type is checked no further; the other checks see its default instead.
    """
    wrong_types = type_problems(settings)
    checked = copy(settings)
    for setting in fields(settings):
        if setting.name in wrong_types:
            object.__setattr__(checked, setting.name, default_of(setting))
    return [*wrong_types.values(), *(problem for check in _CHECKS for problem in check(checked))]
