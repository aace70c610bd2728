"""What settings are judged by; every check answers the sentences that say what is wrong."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.size import parse_size
from valetkey.protocol.uri import resource_uri_problem

from .plans import plan_problems

if TYPE_CHECKING:
    from . import Settings

_HOUR, _DAY = 3600, 86400
_DERIVED_FROM = {"tokens_path": "personal_access_tokens_path"}  # what is judged: which setting it is made of
_PATH_SETTINGS = (
    *("oauth_path", "account_path", "device_path", "api_prefix", "tokens_path"),
    *("openapi_path", "docs_path", "llms_txt_path"),
)


def _check_types(settings: Settings) -> list[str]:
    wanted: dict[str, type] = {"int": int, "bool": bool, "str": str, "tuple[str, ...]": tuple}
    wrong = []
    for one in fields(settings):
        kind = wanted.get(str(one.type).removesuffix(" | None"))
        value = getattr(settings, one.name)
        if kind and not isinstance(value, kind) and not (value is None and str(one.type).endswith("None")):
            wrong.append(f"{one.name} must be of type {kind.__name__}")
    return wrong


def _check_issuer(settings: Settings) -> list[str]:
    problem = resource_uri_problem(settings.issuer)
    if problem:
        return [f"issuer {settings.issuer!r} cannot be used: {problem}"]
    parts = urlsplit(settings.issuer)
    wrong = []
    if parts.scheme != "https" and settings.is_production:
        wrong.append(
            f"issuer {settings.issuer!r} is plain http, which is for loopback only: set issuer to an https:// URL "
            "(RFC 8414 §2)"
        )
    if parts.query:
        wrong.append("issuer must have no query (RFC 8414 §2)")
    if settings.issuer.endswith("/"):
        wrong.append(f"issuer must not end in a slash: use {settings.issuer.rstrip('/')!r}")
    return wrong


def _check_resource(settings: Settings) -> list[str]:
    problem = resource_uri_problem(settings.resource) if settings.resource else None
    return [f"resource {settings.resource!r} cannot be used: {problem}"] if problem else []


def _check_scopes(settings: Settings) -> list[str]:
    if not isinstance(settings.scopes, Mapping):
        return ['scopes must map each scope to its words, like {"profile": "See your name"}']
    wrong = []
    for name, words in settings.scopes.items():
        try:
            one_name = len(parse_scope(name)) == 1
        except InvalidScope:
            one_name = False
        if not one_name:
            wrong.append(f"scopes: {name!r} is not a scope name (RFC 6749 §3.3)")
        if not isinstance(words, str) or not words.strip():
            wrong.append(f"scopes: {name!r} needs words for the consent page")
    return wrong


def _check_personal_tokens(settings: Settings) -> list[str]:
    if not isinstance(settings.scopes, Mapping) or not isinstance(settings.personal_access_token_scopes, tuple):
        return []  # which is told already
    api_scope = {settings.personal_access_token_api_scope} - {None}
    unknown = sorted({*settings.personal_access_token_scopes, *api_scope} - set(settings.scopes), key=str)
    wrong = [f"personal access tokens: {name!r} is not among the scopes" for name in unknown]
    for name in sorted({"openid", "offline_access"} & {*settings.personal_access_token_scopes, *api_scope}):
        wrong.append(f"personal access tokens: {name} cannot be given to one")
    return wrong


def _check_plans(settings: Settings) -> list[str]:
    return plan_problems(settings.plans, settings.default_plan, settings.scopes)


def _check_paths(settings: Settings) -> list[str]:
    paths = {_DERIVED_FROM.get(name, name): getattr(settings, name) for name in _PATH_SETTINGS}
    wrong = [
        f"{name} must begin with a slash and not end in one"
        for name, path in paths.items()
        if path is not None and (not str(path).startswith("/") or str(path).endswith("/"))
    ]
    first: dict[str, str] = {}
    for name, path in paths.items():
        if path is not None and first.setdefault(path, name) != name:
            wrong.append(f"{name} and {first[path]} are both {path!r}: each needs a path of its own")
    return wrong


def _check_max_body(settings: Settings) -> list[str]:
    try:
        parse_size(settings.max_body or 0)
    except ValueError as wrong:
        return [f"max_body: {wrong}"]
    return []


def _check_lifetimes(settings: Settings) -> list[str]:
    bounds = {
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
    return [
        f"{name} must be between {low} and {high} seconds, not {getattr(settings, name)!r}"
        for name, (low, high) in bounds.items()
        if not isinstance(getattr(settings, name), int) or not low <= getattr(settings, name) <= high
    ]


def _check_encryption_keys(settings: Settings) -> list[str]:
    wrong = []
    for number, key in enumerate(settings.encryption_keys, 1):
        try:
            good = len(base64.b64decode(key, validate=True)) == 32
        except (binascii.Error, ValueError):
            good = False
        if not good:
            wrong.append(f"encryption_keys: key {number} is not base64 of 32 bytes; make one with `valetkey keys new`")
    if settings.is_production and not settings.encryption_keys and not settings.store_url.startswith("sqlite"):
        wrong.append("encryption_keys must be set where several machines share a store; see `valetkey keys new`")
    return wrong


def _check_choices(settings: Settings) -> list[str]:
    wrong = []
    if settings.rate_limit_fields not in {"ietf", "legacy", "both", "off"}:
        wrong.append("rate_limit_fields must be 'ietf', 'legacy', 'both' or 'off'")
    if settings.revocation_outage not in {"refuse", "accept"}:
        wrong.append("revocation_outage must be 'refuse' or 'accept'")
    if settings.cors not in {"registered", "any", "off"}:
        wrong.append("cors must be 'registered', 'any' or 'off'")
    if settings.registration_policy not in {"", "closed", "approve", "open"}:
        wrong.append("registration_policy must be 'closed', 'approve' or 'open'")
    if settings.metadata_document_clients not in {"", "off", "approve", "open"}:
        wrong.append("metadata_document_clients must be 'off', 'approve' or 'open'")
    if not 0 <= settings.unused_registration_days <= 3650:
        wrong.append("unused_registration_days must be between 0 and 3650")
    if settings.registration_profile is not None and settings.registration_profile not in CLIENT_POLICIES:
        wrong.append(f"registration_profile must be one of {', '.join(CLIENT_POLICIES)}")
    if not settings.store_url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        wrong.append("database_url must begin with sqlite:/// or postgresql://")
    if settings.redis_url and not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        wrong.append("redis_url must begin with redis://, rediss:// or unix://")
    contact = settings.security_contact or "tel:"
    if not contact.startswith(("mailto:", "https://", "tel:")) or len(contact.split()) != 1:
        wrong.append("security_contact must be a URI that begins with mailto:, https:// or tel: (RFC 9116 §2.5.3)")
    if not settings.api_version.strip():
        wrong.append("api_version must not be empty")
    if settings.mail_url and urlsplit(settings.mail_url).scheme not in {"smtp", "smtps"}:
        wrong.append("mail_url must begin with smtp:// or smtps://")
    return wrong


def _check_networks(settings: Settings) -> list[str]:
    wrong = []
    for name in ("trusted_proxies", "outbound_allowed_networks"):
        for network in getattr(settings, name):
            try:
                ip_network(network)
            except ValueError:
                wrong.append(f"{name}: {network!r} is not a network like 10.0.0.0/8")
    if settings.outbound_ca_file and not Path(settings.outbound_ca_file).is_file():
        wrong.append(f"outbound_ca_file: there is no file {settings.outbound_ca_file!r}")
    return wrong


CHECKS: tuple[Callable[[Settings], list[str]], ...] = (
    _check_types,
    _check_issuer,
    _check_resource,
    _check_scopes,
    _check_personal_tokens,
    _check_plans,
    _check_paths,
    _check_max_body,
    _check_lifetimes,
    _check_encryption_keys,
    _check_choices,
    _check_networks,
)
