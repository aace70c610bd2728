"""Checks of URIs: loopback hosts, resource indicators (RFC 8707 §2), URLs of pages and endpoints."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

_MAX_LENGTH = 2000
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback_host(host: str | None) -> bool:
    """Return whether a host is ``127.0.0.1``, ``::1`` or ``localhost`` (RFC 8252 §7.3)."""
    return host in _LOOPBACK_HOSTS


def resource_uri_problem(uri: str) -> str | None:
    """Return why a URI cannot be a resource indicator (RFC 8707 §2: absolute, no fragment), or ``None`` if it can."""
    parts, problem = split_uri(uri)
    if parts is None:
        return problem
    return None if parts.scheme in {"https", "http"} and parts.hostname else "it is not an http(s) URL"


def host_of(uri: str) -> str | None:
    """Return the host of a URI, in lower case, or ``None`` if the URI has no host or is invalid."""
    parts, _ = split_uri(uri)
    return parts.hostname if parts else None


def add_query(uri: str, query: str) -> str:
    """Return a URI without a fragment with a query added, after the one that it may have already.

    :param query: an encoded query without ``?``; empty to add nothing.
    """
    if not query:
        return uri
    separator = "" if uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return f"{uri}{separator}{query}"


def insert_metadata_path(identifier: str, metadata_path: str) -> str:
    """Return the URL of metadata: a well-known path between host and path of an identifier (RFC 8414 §3.1, 9728 §3.1).

    :param identifier: the URL that identifies an issuer or a resource; a query stays at the end.
    :param metadata_path: such as ``/.well-known/oauth-authorization-server``.
    """
    parts = urlsplit(identifier)
    return urlunsplit(parts._replace(path=metadata_path + parts.path.rstrip("/")))


def normalize_resource(uri: str) -> str:
    """Return a resource indicator (the URL of an API) in normal form, for comparison (RFC 3986 §6.2.2.1, §6.2.3).

    Scheme and host become lower case, and an empty path becomes ``/``: JavaScript's ``URL`` always writes that slash.
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.lower(), path=parts.path or "/"))


def is_metadata_document_url(client_id: str, *, allow_http_loopback: bool) -> bool:
    """Return whether a client_id has the form of the URL of a Client ID Metadata Document (draft-03 §3).

    :param allow_http_loopback: whether an http URL is allowed if its host is a loopback address.
    """
    parts, _ = split_uri(client_id)
    if parts is None or not parts.hostname or parts.path in {"", "/"}:
        return False
    if any(segment.lower().replace("%2e", ".") in {".", ".."} for segment in parts.path.split("/")):
        return False
    return parts.scheme == "https" or (
        allow_http_loopback and parts.scheme == "http" and is_loopback_host(parts.hostname)
    )


def page_uri_problem(uri: str) -> str | None:
    """Return why a URI cannot be the address of a web page for users, as a sentence, or ``None`` if it can."""
    return resource_uri_problem(uri)


def endpoint_uri_problem(uri: str) -> str | None:
    """Return why a URI cannot be the URL of an endpoint that servers call, as a sentence, or ``None`` if it can.

    Such a URL must be https, or http with a loopback host.
    """
    problem = resource_uri_problem(uri)
    parts = urlsplit(uri) if problem is None else None
    if parts and parts.scheme == "http" and not is_loopback_host(parts.hostname):
        return "http is for loopback addresses only; use https"
    return problem


def is_local_path(path: str) -> bool:
    """Return whether the text is a path of this site that is safe to redirect to: browsers read no host in it."""
    return _LOCAL_PATH.fullmatch(path) is not None


def split_uri(uri: str) -> tuple[SplitResult | None, str | None]:
    if len(uri) > _MAX_LENGTH:
        return None, "it is longer than 2000 characters"
    if not _PRINTABLE.fullmatch(uri) or "\\" in uri:
        return None, "it contains characters that no URI has"
    try:
        parts = urlsplit(uri)
        port = parts.port
        (parts.hostname or "").encode("idna")  # an HTTP client will encode the host the same way
    except UnicodeError:  # a subclass of ValueError, so it must come first
        return None, "its host has an empty part, or one of more than 63 characters"
    except ValueError:
        return None, "it is not a URI"
    if not parts.scheme:
        return None, "it does not begin with a scheme, such as https://"
    if "#" in uri:
        return None, "it has a fragment (RFC 6749 §3.1.2)"
    if "@" in parts.netloc:
        return None, "it has user information in it"
    if port == 0:
        return None, "its port is 0"
    return parts, None
