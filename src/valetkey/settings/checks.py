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

from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.policy import POLICIES
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.size import read_size
from valetkey.protocol.uri import resource_problem

from .plans import plan_problems

if TYPE_CHECKING:
    from . import Settings

_HOUR, _DAY = 3600, 86400
_PATH_OF = {"tokens_path": "personal_access_tokens_path"}  # what is judged: which setting it is made of
_PATHS = (
    *("oauth_path", "account_path", "device_path", "api_prefix", "tokens_path"),
    *("openapi_path", "docs_path", "llms_txt_path"),
)


def _check_types(s: Settings) -> list[str]:
    wanted: dict[str, type] = {"int": int, "bool": bool, "str": str, "tuple[str, ...]": tuple}
    wrong = []
    for one in fields(s):
        kind = wanted.get(str(one.type).removesuffix(" | None"))
        value = getattr(s, one.name)
        if kind and not isinstance(value, kind) and not (value is None and str(one.type).endswith("None")):
            wrong.append(f"{one.name} must be of type {kind.__name__}")
    return wrong


def _check_issuer(s: Settings) -> list[str]:
    problem = resource_problem(s.issuer)
    if problem:
        return [f"issuer {s.issuer!r} cannot be used: {problem}"]
    parts = urlsplit(s.issuer)
    wrong = []
    if parts.scheme != "https" and s.is_production:
        wrong.append(
            f"issuer {s.issuer!r} is plain http, which is for loopback only: set issuer to an https:// URL "
            "(RFC 8414 §2)"
        )
    if parts.query:
        wrong.append("issuer must have no query (RFC 8414 §2)")
    if s.issuer.endswith("/"):
        wrong.append(f"issuer must not end in a slash: use {s.issuer.rstrip('/')!r}")
    return wrong


def _check_resource(s: Settings) -> list[str]:
    problem = resource_problem(s.resource) if s.resource else None
    return [f"resource {s.resource!r} cannot be used: {problem}"] if problem else []


def _check_scopes(s: Settings) -> list[str]:
    if not isinstance(s.scopes, Mapping):
        return ['scopes must map each scope to its words, like {"profile": "See your name"}']
    wrong = []
    for name, words in s.scopes.items():
        try:
            one_name = len(parse_scope(name)) == 1
        except InvalidScope:
            one_name = False
        if not one_name:
            wrong.append(f"scopes: {name!r} is not a scope name (RFC 6749 §3.3)")
        if not isinstance(words, str) or not words.strip():
            wrong.append(f"scopes: {name!r} needs words for the consent page")
    return wrong


def _check_personal_tokens(s: Settings) -> list[str]:
    if not isinstance(s.scopes, Mapping) or not isinstance(s.personal_access_token_scopes, tuple):
        return []  # which is told already
    api_scope = {s.personal_access_token_api_scope} - {None}
    unknown = sorted({*s.personal_access_token_scopes, *api_scope} - set(s.scopes), key=str)
    wrong = [f"personal access tokens: {name!r} is not among the scopes" for name in unknown]
    for name in sorted({"openid", "offline_access"} & {*s.personal_access_token_scopes, *api_scope}):
        wrong.append(f"personal access tokens: {name} cannot be given to one")
    return wrong


def _check_plans(s: Settings) -> list[str]:
    return plan_problems(s.plans, s.default_plan, s.scopes)


def _check_paths(s: Settings) -> list[str]:
    paths = {_PATH_OF.get(name, name): getattr(s, name) for name in _PATHS}
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


def _check_max_body(s: Settings) -> list[str]:
    try:
        read_size(s.max_body or 0)
    except ValueError as wrong:
        return [f"max_body: {wrong}"]
    return []


def _check_lifetimes(s: Settings) -> list[str]:
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
        f"{name} must be between {low} and {high} seconds, not {getattr(s, name)!r}"
        for name, (low, high) in bounds.items()
        if not isinstance(getattr(s, name), int) or not low <= getattr(s, name) <= high
    ]


def _check_keys(s: Settings) -> list[str]:
    wrong = []
    for number, key in enumerate(s.encryption_keys, 1):
        try:
            good = len(base64.b64decode(key, validate=True)) == 32
        except (binascii.Error, ValueError):
            good = False
        if not good:
            wrong.append(f"encryption_keys: key {number} is not base64 of 32 bytes; make one with `valetkey keys new`")
    if s.is_production and not s.encryption_keys and not s.store_url.startswith("sqlite"):
        wrong.append("encryption_keys must be set where several machines share a store; see `valetkey keys new`")
    return wrong


def _check_words(s: Settings) -> list[str]:
    wrong = []
    if s.rate_limit_fields not in {"ietf", "legacy", "both", "off"}:
        wrong.append("rate_limit_fields must be 'ietf', 'legacy', 'both' or 'off'")
    if s.revocation_outage not in {"refuse", "accept"}:
        wrong.append("revocation_outage must be 'refuse' or 'accept'")
    if s.cors not in {"registered", "any", "off"}:
        wrong.append("cors must be 'registered', 'any' or 'off'")
    if s.registration_policy not in {"", "closed", "approve", "open"}:
        wrong.append("registration_policy must be 'closed', 'approve' or 'open'")
    if s.metadata_document_clients not in {"", "off", "approve", "open"}:
        wrong.append("metadata_document_clients must be 'off', 'approve' or 'open'")
    if not 0 <= s.unused_registration_days <= 3650:
        wrong.append("unused_registration_days must be between 0 and 3650")
    if s.registration_profile is not None and s.registration_profile not in POLICIES:
        wrong.append(f"registration_profile must be one of {', '.join(POLICIES)}")
    if not s.store_url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        wrong.append("database_url must begin with sqlite:/// or postgresql://")
    if s.redis_url and not s.redis_url.startswith(("redis://", "rediss://", "unix://")):
        wrong.append("redis_url must begin with redis://, rediss:// or unix://")
    contact = s.security_contact or "tel:"
    if not contact.startswith(("mailto:", "https://", "tel:")) or len(contact.split()) != 1:
        wrong.append("security_contact must be a URI that begins with mailto:, https:// or tel: (RFC 9116 §2.5.3)")
    if not s.api_version.strip():
        wrong.append("api_version must not be empty")
    if s.mail_url and urlsplit(s.mail_url).scheme not in {"smtp", "smtps"}:
        wrong.append("mail_url must begin with smtp:// or smtps://")
    return wrong


def _check_networks(s: Settings) -> list[str]:
    wrong = []
    for name in ("trusted_proxies", "outbound_allowed_networks"):
        for network in getattr(s, name):
            try:
                ip_network(network)
            except ValueError:
                wrong.append(f"{name}: {network!r} is not a network like 10.0.0.0/8")
    if s.outbound_ca_file and not Path(s.outbound_ca_file).is_file():
        wrong.append(f"outbound_ca_file: there is no file {s.outbound_ca_file!r}")
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
    _check_keys,
    _check_words,
    _check_networks,
)
