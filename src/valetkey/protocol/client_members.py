"""The members of client metadata one by one: which are known, and what each may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS
from .errors import InvalidClientMetadata, InvalidRedirectUri
from .policy import Policy
from .uri import endpoint_problem, page_problem, redirect_uri_problem

Members = Mapping[str, Any]
_LONGEST, _MOST, _MOST_KEYS = 2000, 32, 16
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,4}")
_PUBLIC = ("kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def read_members(sent: Members) -> dict[str, Any]:
    """The known members, each of its type; those left out, null or empty are left out (RFC 7592 §2.2).

    :raises InvalidRedirectUri, InvalidClientMetadata: with the first problem.
    """
    read = {}
    for name, value in sent.items():
        kind = _kind(name)
        if kind is not None and value not in (None, ""):
            read[name] = kind(name, value)
    return read


def in_ascii(problem: str) -> str:
    """A sentence as error_description may have it (RFC 7591 §3.2.2)."""
    plain = problem.replace("§", "section ")
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in plain)


def is_member(name: str) -> bool:
    """Whether this server knows a member of this name."""
    return _kind(name) is not None


def _kind(name: str) -> Callable[[str, Any], Any] | None:
    base, mark, language = name.partition("#")
    if not mark:
        return _KINDS.get(name)
    return _KINDS.get(base) if base in _TRANSLATED and _LANGUAGE.fullmatch(language) else None  # RFC 7591 §2.2


def _refused(name: str, wanted: str) -> InvalidClientMetadata:
    return InvalidClientMetadata(f"{name} must be {wanted}")


def _name(name: str, value: Any) -> str:
    """What people read: nothing that breaks a line, is not seen, or turns the direction of writing around."""
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not value.isprintable():
        raise _refused(name, "1 to 100 printable characters")
    return value.strip()


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise _refused(name, "a printable text")
    return value


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise _refused(name, f"an array of {_MOST} texts at most")
    return list(dict.fromkeys(_text(name, one) for one in value))


def _redirect_uris(name: str, value: Any) -> list[str]:
    try:
        return _texts(name, value)
    except InvalidClientMetadata as refusal:
        raise InvalidRedirectUri(refusal.description) from refusal


def _page(name: str, value: Any) -> str:
    problem = page_problem(value) if isinstance(value, str) else "it is not a text"
    if problem:
        raise InvalidClientMetadata(f"{name} cannot be used: {in_ascii(problem)}")
    return str(value)


def _endpoint(name: str, value: Any) -> str:
    problem = endpoint_problem(value) if isinstance(value, str) else "it is not a text"
    if problem:
        raise InvalidClientMetadata(f"{name} cannot be used: {in_ascii(problem)}")
    return str(value)


def _login_page(name: str, value: Any) -> str:
    """Where others may send a person to have the client begin a sign-in: https (OpenID Connect Registration §2)."""
    if urlsplit(_page(name, value)).scheme != "https":
        raise InvalidClientMetadata(f"{name} cannot be used: it is not https")
    return str(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, "true or false")
    return value


def _seconds(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise _refused(name, "a number of seconds")
    return value


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if value not in choices:
            raise _refused(name, f"one of {', '.join(choices)}")
        return str(value)

    return read


def _jwks(name: str, value: Any) -> dict[str, Any]:
    """Public keys only: whoever sends a private one has given it away (RFC 7591 §2)."""
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not 0 < len(keys) <= _MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise _refused(name, f"a JWK set with 1 to {_MOST_KEYS} keys")
    if any(_PRIVATE & key.keys() for key in keys):
        raise _refused(name, "a set of public keys only")
    return {"keys": [{part: _part(name, key[part]) for part in _PUBLIC if part in key} for key in keys]}


def _part(name: str, value: Any) -> Any:
    return _texts(name, value) if isinstance(value, list) else _text(name, value)


_TRANSLATED = frozenset({"client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri"})
_KINDS: Mapping[str, Callable[[str, Any], Any]] = {
    "redirect_uris": _redirect_uris,
    "post_logout_redirect_uris": _texts,
    "client_name": _name,
    **dict.fromkeys(("client_uri", "logo_uri", "tos_uri", "policy_uri"), _page),
    **dict.fromkeys(
        (
            "jwks_uri",
            "sector_identifier_uri",
            "backchannel_logout_uri",
            "frontchannel_logout_uri",
        ),
        _endpoint,
    ),
    "initiate_login_uri": _login_page,
    **dict.fromkeys(("contacts", "grant_types", "response_types", "default_acr_values"), _texts),
    **dict.fromkeys(("scope", "software_id", "software_version", "token_endpoint_auth_method"), _text),
    **dict.fromkeys(
        ("require_auth_time", "backchannel_logout_session_required", "frontchannel_logout_session_required"), _flag
    ),
    "default_max_age": _seconds,
    "jwks": _jwks,
    "application_type": _one_of("web", "native"),
    "subject_type": _one_of("public", "pairwise"),
    "id_token_signed_response_alg": _one_of(*SIGNING_ALGORITHMS),
    "userinfo_signed_response_alg": _one_of(*SIGNING_ALGORITHMS),
    "token_endpoint_auth_signing_alg": _one_of(*ASSERTION_ALGORITHMS),
}


_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")  # it stands in a Content-Security-Policy
_FLAGS = ("backchannel_logout_session_required", "frontchannel_logout_session_required")


def logout_problems(rules: Policy, members: Mapping[str, Any], redirect_uris: Sequence[str]) -> list[str]:
    """Why these members cannot be registered, a sentence each."""
    after = members.get("post_logout_redirect_uris", ())
    if not isinstance(after, list | tuple):
        return ["post_logout_redirect_uris must be a list"]
    found = [("post_logout_redirect_uris", uri, rules.native) for uri in after]
    told = ("backchannel_logout_uri", "frontchannel_logout_uri")
    found += [(name, members[name], False) for name in told if members.get(name) is not None]
    problems = []
    for name, uri, native in found:
        problem = redirect_uri_problem(uri, native=native) if isinstance(uri, str) else "it is not a URI"
        if problem:
            problems.append(f"{name} {uri!r}: {problem}")
    problems += [f"{name} must be true or false" for name in _FLAGS if not isinstance(members.get(name, False), bool)]
    return problems or _frontchannel_problems(members.get("frontchannel_logout_uri"), redirect_uris)


def _frontchannel_problems(uri: str | None, redirect_uris: Sequence[str]) -> list[str]:
    if uri is None:
        return []
    if not _HOST.fullmatch(urlsplit(uri).netloc):
        return [f"frontchannel_logout_uri {uri!r}: its host cannot be used"]
    if _origin(uri) not in {_origin(one) for one in redirect_uris}:  # Front-Channel Logout §2
        return [f"frontchannel_logout_uri {uri!r}: a redirect URI of the same scheme, host and port is needed"]
    return []


def _origin(uri: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
