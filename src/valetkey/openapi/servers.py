"""The URLs of the servers that an OpenAPI document names, and their place below the issuer. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit


def server_urls(
    document: Mapping[str, Any], path_item: Mapping[str, Any], operation: Mapping[str, Any], issuer: str
) -> list[str]:
    """Return the URLs of the servers of an operation (OpenAPI 3.1 §4.8.5), without a slash at the end.

    Variables in a URL have their default values. Without servers, it is the issuer's URL.

    :param issuer: the URL that relative URLs are relative to.
    """
    servers = operation.get("servers") or path_item.get("servers") or document.get("servers") or []
    urls = [_absolute_url(server, issuer) for server in servers if isinstance(server, Mapping)]
    return list(filter(None, urls)) or [issuer.rstrip("/")]


def path_below(url: str, issuer: str) -> str:
    """Return the path of a server's URL below the issuer's: ``/api``, or an empty text if it is the same.

    A path that is not below the issuer's is returned whole.
    """
    path, issuer_path = urlsplit(url).path, urlsplit(issuer).path.rstrip("/")
    return path.removeprefix(issuer_path) if f"{path}/".startswith(f"{issuer_path}/") else path


def _absolute_url(server: Mapping[str, Any], issuer: str) -> str:
    """Return the URL of a server object, or an empty text if it has no valid one."""
    url = str(server.get("url", ""))
    variables = server.get("variables", {})
    for name in variables if isinstance(variables, Mapping) else ():
        url = url.replace(f"{{{name}}}", str(variables[name].get("default", "")))
    try:
        return urljoin(f"{issuer.rstrip('/')}/", url).rstrip("/")
    except ValueError:
        return ""
