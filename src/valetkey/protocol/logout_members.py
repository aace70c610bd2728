"""The members of a registration that are about logout, judged (OpenID Connect's three logout specifications)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .policy import Policy
from .uri import redirect_uri_problem

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
