"""Parsers for the members of client metadata, such as ``redirect_uris`` (RFC 7591 §2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS
from .client_policy import ClientPolicy
from .display_name import display_name_problem, normalize_display_name
from .errors import InvalidClientMetadata, InvalidRedirectUri
from .redirect_uri import redirect_uri_problem
from .uri import endpoint_uri_problem, page_uri_problem

ClientMetadata = Mapping[str, Any]
_MAX_LENGTH, _MAX_ITEMS, _MAX_KEYS = 2000, 32, 16
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,4}")
_PUBLIC_JWK_MEMBERS = ("kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e")
_PRIVATE_JWK_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def parse_members(submitted: ClientMetadata) -> dict[str, Any]:
    """Return the client metadata members that this server supports, each checked against its type.

    Members that are not supported, null or empty are dropped (RFC 7591 §2, RFC 7592 §2.2).

    :param submitted: the client metadata as it was sent.
    :raises InvalidRedirectUri, InvalidClientMetadata: for the first member that is not valid.
    """
    members = {}
    for name, value in submitted.items():
        parse = _find_parser(name)
        if parse is not None and value not in (None, ""):
            members[name] = parse(name, value)
    return members


def to_error_description(text: str) -> str:
    """Return a text with only the characters that ``error_description`` allows (RFC 7591 §3.2.2).

    These are printable ASCII without quotes and backslashes. Others become ``?``, but ``§`` becomes "section".
    """
    plain = text.replace("§", "section ")
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in plain)


def is_supported_member(name: str) -> bool:
    """Return whether this server supports the client metadata member with this name, such as ``logo_uri#fr``."""
    return _find_parser(name) is not None


def _find_parser(name: str) -> Callable[[str, Any], Any] | None:
    base, mark, language = name.partition("#")
    if not mark:
        return _PARSERS.get(name)
    return (
        _PARSERS.get(base) if base in _LOCALIZABLE_MEMBERS and _LANGUAGE_TAG.fullmatch(language) else None
    )  # RFC 7591 §2.2


def _invalid_member(name: str, expected: str) -> InvalidClientMetadata:
    return InvalidClientMetadata(f"{name} must be {expected}")


def _parse_client_name(name: str, value: Any) -> str:
    """Return the client's name in its normal form; Valetkey's pages show it to users.

    :raises InvalidClientMetadata: if it is not 1 to 100 visible characters; see ``display_name_problem``.
    """
    if not isinstance(value, str):
        raise _invalid_member(name, "a text of 1 to 100 characters")
    if problem := display_name_problem(value):
        raise InvalidClientMetadata(to_error_description(f"{name} {problem}"))
    return normalize_display_name(value)


def _parse_text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_LENGTH or not value.isprintable():
        raise _invalid_member(name, "a printable text")
    return value


def _parse_texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise _invalid_member(name, f"an array of {_MAX_ITEMS} texts at most")
    return list(dict.fromkeys(_parse_text(name, text) for text in value))


def _parse_redirect_uris(name: str, value: Any) -> list[str]:
    try:
        return _parse_texts(name, value)
    except InvalidClientMetadata as refusal:
        raise InvalidRedirectUri(refusal.description) from refusal


def _parse_page_uri(name: str, value: Any) -> str:
    problem = page_uri_problem(value) if isinstance(value, str) else "it is not a text"
    if problem:
        raise InvalidClientMetadata(f"{name} cannot be used: {to_error_description(problem)}")
    return str(value)


def _parse_endpoint_uri(name: str, value: Any) -> str:
    problem = endpoint_uri_problem(value) if isinstance(value, str) else "it is not a text"
    if problem:
        raise InvalidClientMetadata(f"{name} cannot be used: {to_error_description(problem)}")
    return str(value)


def _parse_initiate_login_uri(name: str, value: Any) -> str:
    """Return the URL where third parties can start a sign-in at the client (OpenID Connect Registration §2).

    :raises InvalidClientMetadata: if it is not an https URL.
    """
    if urlsplit(_parse_page_uri(name, value)).scheme != "https":
        raise InvalidClientMetadata(f"{name} cannot be used: it is not https")
    return str(value)


def _parse_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid_member(name, "true or false")
    return value


def _parse_seconds(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise _invalid_member(name, "a number of seconds")
    return value


def _choice_parser(*choices: str) -> Callable[[str, Any], str]:
    def parse(name: str, value: Any) -> str:
        if value not in choices:
            raise _invalid_member(name, f"one of {', '.join(choices)}")
        return str(value)

    return parse


def _parse_jwks(name: str, value: Any) -> dict[str, Any]:
    """Return a client's JWK set, with only the members of public keys (RFC 7591 §2).

    A set that contains a private key is rejected, because that key was disclosed when it was sent.

    :raises InvalidClientMetadata: if the value is not a JWK set of 1 to 16 public keys.
    """
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= _MAX_KEYS or not all(isinstance(key, dict) for key in keys):
        raise _invalid_member(name, f"a JWK set with 1 to {_MAX_KEYS} keys")
    if any(_PRIVATE_JWK_MEMBERS & key.keys() for key in keys):
        raise _invalid_member(name, "a set of public keys only")
    return {
        "keys": [
            {member: _parse_jwk_member(name, key[member]) for member in _PUBLIC_JWK_MEMBERS if member in key}
            for key in keys
        ]
    }


def _parse_jwk_member(name: str, value: Any) -> Any:
    return _parse_texts(name, value) if isinstance(value, list) else _parse_text(name, value)


_LOCALIZABLE_MEMBERS = frozenset({"client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri"})
_PARSERS: Mapping[str, Callable[[str, Any], Any]] = {
    "redirect_uris": _parse_redirect_uris,
    "post_logout_redirect_uris": _parse_texts,
    "client_name": _parse_client_name,
    **dict.fromkeys(("client_uri", "logo_uri", "tos_uri", "policy_uri"), _parse_page_uri),
    **dict.fromkeys(
        (
            "jwks_uri",
            "sector_identifier_uri",
            "backchannel_logout_uri",
            "frontchannel_logout_uri",
        ),
        _parse_endpoint_uri,
    ),
    "initiate_login_uri": _parse_initiate_login_uri,
    **dict.fromkeys(("contacts", "grant_types", "response_types", "default_acr_values"), _parse_texts),
    **dict.fromkeys(("scope", "software_id", "software_version", "token_endpoint_auth_method"), _parse_text),
    **dict.fromkeys(
        ("require_auth_time", "backchannel_logout_session_required", "frontchannel_logout_session_required"),
        _parse_bool,
    ),
    "default_max_age": _parse_seconds,
    "jwks": _parse_jwks,
    "application_type": _choice_parser("web", "native"),
    "subject_type": _choice_parser("public", "pairwise"),
    "id_token_signed_response_alg": _choice_parser(*SIGNING_ALGORITHMS),
    "userinfo_signed_response_alg": _choice_parser(*SIGNING_ALGORITHMS),
    "token_endpoint_auth_signing_alg": _choice_parser(*ASSERTION_ALGORITHMS),
}


_CSP_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")  # the host is copied into a Content-Security-Policy
_LOGOUT_FLAGS = ("backchannel_logout_session_required", "frontchannel_logout_session_required")


def logout_problems(
    policy: ClientPolicy,
    members: Mapping[str, Any],
    redirect_uris: Sequence[str],
    private_use_schemes: Collection[str] = (),
) -> list[str]:
    """Return what is wrong with a client's logout URIs and flags, one sentence each; empty if they can be registered.

    :param policy: the rules for this kind of client.
    :param members: the client metadata, such as ``post_logout_redirect_uris`` and ``backchannel_logout_uri``.
    :param redirect_uris: the client's redirect URIs.
    :param private_use_schemes: schemes without a dot that URIs of native apps may have.
    """
    post_logout_uris = members.get("post_logout_redirect_uris", ())
    if not isinstance(post_logout_uris, list | tuple):
        return ["post_logout_redirect_uris must be a list"]
    uris = [("post_logout_redirect_uris", uri, policy.native) for uri in post_logout_uris]
    notification_members = ("backchannel_logout_uri", "frontchannel_logout_uri")
    uris += [(name, members[name], False) for name in notification_members if members.get(name) is not None]
    problems = []
    for name, uri, native in uris:
        problem: str | None = "it is not a URI"
        if isinstance(uri, str):
            problem = redirect_uri_problem(uri, native=native, private_use_schemes=private_use_schemes)
        if problem:
            problems.append(f"{name} {uri!r}: {problem}")
    problems += [
        f"{name} must be true or false" for name in _LOGOUT_FLAGS if not isinstance(members.get(name, False), bool)
    ]
    return problems or _frontchannel_problems(members.get("frontchannel_logout_uri"), redirect_uris)


def _frontchannel_problems(uri: str | None, redirect_uris: Sequence[str]) -> list[str]:
    if uri is None:
        return []
    if not _CSP_HOST.fullmatch(urlsplit(uri).netloc):
        return [f"frontchannel_logout_uri {uri!r}: its host cannot be used"]
    if _origin(uri) not in {_origin(redirect_uri) for redirect_uri in redirect_uris}:  # Front-Channel Logout §2
        return [f"frontchannel_logout_uri {uri!r}: a redirect URI of the same scheme, host and port is needed"]
    return []


def _origin(uri: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
