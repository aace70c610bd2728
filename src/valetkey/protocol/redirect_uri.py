"""Rules for redirect URIs: which ones clients may register, which ones requests may use (RFC 8252, RFC 9700 §2.1)."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from .embedded_ipv4 import list_embedded_ipv4
from .uri import is_loopback_host, split_uri

_LOOPBACK_LITERAL = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]{1,5})?(?P<rest>[/?].*)?")
_DANGEROUS_SCHEMES = frozenset(
    {
        *("javascript", "data", "vbscript", "file", "filesystem", "blob", "about", "mailto", "tel", "sms"),
        *("ws", "wss", "ftp", "view-source", "intent", "android-app", "chrome", "edge", "jar", "resource"),
    }
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")  # RFC 3986 §3.1, in lower case


def redirect_uri_problem(uri: str, *, native: bool, private_use_schemes: Collection[str] = ()) -> str | None:
    """Return why a URI cannot be registered as a redirect URI, as a sentence, or ``None`` if it can.

    https is always allowed, http for loopback addresses only, and private-use schemes for native apps only: those with
    a dot (RFC 8252 §7.1), and those that the operator admits.

    :param native: whether the client is a native app (desktop, mobile or command-line).
    :param private_use_schemes: the schemes without a dot that the operator admits.
    """
    parts, problem = split_uri(uri)
    if parts is None:
        return problem
    if parts.scheme == "https":
        return None if parts.hostname else "it has no host"
    if parts.scheme == "http":
        return None if is_loopback_host(parts.hostname) else "http is for loopback addresses only; use https"
    if is_dangerous_scheme(parts.scheme):
        return f"the scheme {parts.scheme}: is not allowed in redirect URIs"
    if not native:
        return "it is not https"
    if "." not in parts.scheme and parts.scheme not in private_use_schemes:
        return (
            "a private-use scheme needs a dot, like com.example.app (RFC 8252 §7.1), or the operator must add it to "
            "the setting private_use_schemes"
        )
    return None


def private_use_scheme_problem(scheme: str) -> str | None:
    """Return why the operator cannot admit a scheme for redirect URIs, as a sentence, or ``None`` if it can."""
    if not _SCHEME.fullmatch(scheme):
        return "it is not a scheme in lower case, such as cursor"
    if scheme in {"https", "http"} or is_dangerous_scheme(scheme):
        return "it is not a private-use scheme"
    return None


def is_dangerous_scheme(scheme: str) -> bool:
    """Return whether browsers or systems do more than open an app for URIs of a scheme, so that none is redirected to.

    Schemes that begin with ``ms-`` open parts of Windows.
    """
    return scheme in _DANGEROUS_SCHEMES or scheme.startswith("ms-")


def has_private_use_scheme(uri: str, *, undotted: bool = False) -> bool:
    """Return whether a redirect URI has a private-use scheme (RFC 8252 §7.1): any except https and http.

    :param undotted: whether only schemes without a dot count, which belong to no domain name.
    """
    parts, _ = split_uri(uri)
    if parts is None or parts.scheme in {"https", "http"}:
        return False
    return not (undotted and "." in parts.scheme)


def describe_destination(uri: str) -> str:
    """Return where a redirect URI leads to, as pages show it: host and port, or the scheme of an app on the device."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in {"https", "http"} else f"{parts.scheme}: (an app on your device)"


def is_native_redirect_uri(uri: str) -> bool:
    """Return whether a redirect URI leads to a native app on the user's device (RFC 8252 §7.1, §7.3)."""
    parts, _ = split_uri(uri)
    return parts is not None and (parts.scheme not in {"https", "http"} or is_loopback_host(parts.hostname))


def leads_to_user_device(uri: str) -> bool:
    """Return whether any program on the user's device may receive what is sent to a redirect URI (RFC 8252 §8.6).

    True for every scheme except https and http, and for each spelling of a loopback address, such as ``127.1`` or
    ``::ffff:127.0.0.1``.
    """
    parts, _ = split_uri(uri)
    return parts is None or parts.scheme not in {"https", "http"} or _names_this_device(parts.hostname or "")


def _names_this_device(host: str) -> bool:
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        address = ip_address(name) if ":" in name else ip_address(socket.inet_aton(name))  # browsers accept 127.1 too
    except (OSError, ValueError):  # the host is a domain name
        return False
    # A system may connect to the IPv4 address in an IPv6 address, such as ::ffff:127.0.0.1.
    return any(inner.is_loopback or inner.is_unspecified for inner in (address, *list_embedded_ipv4(address)))


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
