"""Rules for redirect URIs: which ones clients may register, which ones requests may use (RFC 8252, RFC 9700 §2.1)."""

from __future__ import annotations

import re

from .uri import is_loopback_host, split_uri

_LOOPBACK_LITERAL = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]{1,5})?(?P<rest>[/?].*)?")
_DANGEROUS_SCHEMES = frozenset(
    {"javascript", "data", "vbscript", "file", "blob", "about", "mailto", "ws", "wss", "ftp", "view-source"}
)


def redirect_uri_problem(uri: str, *, native: bool) -> str | None:
    """Return why a URI cannot be registered as a redirect URI, as a sentence, or ``None`` if it can.

    https is always allowed, http for loopback addresses only, and private-use schemes (with a dot, RFC 8252 §7.1)
    for native apps only.

    :param native: whether the client is a native app (desktop, mobile or command-line).
    """
    parts, problem = split_uri(uri)
    if parts is None:
        return problem
    if parts.scheme == "https":
        return None if parts.hostname else "it has no host"
    if parts.scheme == "http":
        return None if is_loopback_host(parts.hostname) else "http is for loopback addresses only; use https"
    if parts.scheme in _DANGEROUS_SCHEMES:
        return f"the scheme {parts.scheme}: is never redirected to"
    if not native:
        return "it is not https"
    if "." not in parts.scheme:
        return "a private-use scheme needs a dot, like com.example.app (RFC 8252 §7.1)"
    return None


def is_native_redirect_uri(uri: str) -> bool:
    """Return whether a redirect URI leads to a native app on the user's device (RFC 8252 §7.1, §7.3)."""
    parts, _ = split_uri(uri)
    return parts is not None and (parts.scheme not in {"https", "http"} or is_loopback_host(parts.hostname))


def redirect_uri_matches(uri: str, registered: tuple[str, ...], *, native: bool) -> bool:
    """Return whether the redirect URI of a request is one of the client's registered redirect URIs.

    The comparison is exact, except that a loopback URI of a native app may have any port (RFC 8252 §7.3).

    :param native: whether the client is a native app (desktop, mobile or command-line).
    """
    if uri in registered:
        return True
    if not native or not uri.isascii():
        return False
    loopback = _without_port(uri)
    return loopback is not None and any(loopback == _without_port(registered_uri) for registered_uri in registered)


def _without_port(uri: str) -> tuple[str, str] | None:
    match = _LOOPBACK_LITERAL.fullmatch(uri)
    if not match or int((match[2] or ":1")[1:]) > 65535:
        return None
    return match[1], match["rest"] or ""
