"""Protected resource metadata (RFC 9728): tells clients which issuer and scopes an API accepts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from valetkey.runtime import Runtime

WELL_KNOWN = "/.well-known/oauth-protected-resource"
METADATA_HEADERS = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "public, max-age=300"),
    ("Access-Control-Allow-Origin", "*"),
)


def metadata_url(resource: str) -> str:
    """Return the URL of a resource's metadata: the well-known path between its host and path (RFC 9728 §3.1)."""
    parts = urlsplit(resource)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}{query}"


def build_metadata_document(resource: str, name: str, issuers: Iterable[str], scopes: Iterable[str]) -> bytes:
    """Return a resource's metadata as JSON (RFC 9728 §2), without empty members (§3.2).

    :param resource: the resource identifier.
    :param name: the resource's name, for users to read.
    :param issuers: identifiers of the authorization servers whose tokens the resource accepts.
    :param scopes: the scopes of the resource.
    """
    body = {
        "resource": resource,
        "resource_name": name,
        "authorization_servers": list(issuers),
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": ["header"],
    }
    return json.dumps({name: value for name, value in body.items() if value}).encode()


def find_metadata_document(runtime: Runtime, path: str, host: str = "") -> bytes | None:
    """Return the metadata of the resource whose identifier has this path, as JSON, or ``None`` if there is none.

    :param path: path of the resource identifier, with or without slashes at its ends.
    :param host: host of the request. If resources on several hosts have this path, the one on this host is preferred.
    """
    resources = runtime.resources.all().values()
    for resource in sorted(resources, key=lambda resource: urlsplit(resource.resource).netloc != host):
        if urlsplit(resource.resource).path.strip("/") == path.strip("/"):
            scopes = runtime.settings.scopes.keys() if resource.scopes is None else resource.scopes
            return build_metadata_document(resource.resource, resource.name, [runtime.settings.issuer], scopes)
    return None
