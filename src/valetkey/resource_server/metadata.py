"""Protected resource metadata (RFC 9728)."""

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
    """Return the URL of a resource's metadata; the well-known part is between host and path (RFC 9728 §3.1)."""
    parts = urlsplit(resource)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}{query}"


def build_metadata_document(resource: str, name: str, issuers: Iterable[str], scopes: Iterable[str]) -> bytes:
    """Return a resource's metadata as JSON (RFC 9728 §2), without empty members (§3.2)."""
    body = {
        "resource": resource,
        "resource_name": name,
        "authorization_servers": list(issuers),
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": ["header"],
    }
    return json.dumps({name: value for name, value in body.items() if value}).encode()


def find_metadata_document(runtime: Runtime, path: str, host: str = "") -> bytes | None:
    """Return the metadata document of the resource with this path, or ``None`` if there is none.

    :param host: host of the request; preferred if resources of several hosts have this path.
    """
    resources = runtime.resources.all().values()
    for resource in sorted(resources, key=lambda resource: urlsplit(resource.resource).netloc != host):
        if urlsplit(resource.resource).path.strip("/") == path.strip("/"):
            scopes = runtime.settings.scopes.keys() if resource.scopes is None else resource.scopes
            return build_metadata_document(resource.resource, resource.name, [runtime.settings.issuer], scopes)
    return None
