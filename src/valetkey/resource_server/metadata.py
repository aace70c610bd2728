"""Protected resource metadata (RFC 9728)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from valetkey.runtime import Answer, Runtime, json_answer

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_url(resource: str) -> str:
    """Where a resource's metadata is: the well-known part goes between host and path (RFC 9728 §3.1)."""
    parts = urlsplit(resource)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}{query}"


def resource_metadata(runtime: Runtime, path: str, host: str = "") -> Answer | None:
    """The document of the resource whose path was asked for; None where there is none.

    :param host: where several hosts have a resource at this path, whose is meant.
    """
    every = runtime.resources.all().values()
    for resource in sorted(every, key=lambda one: urlsplit(one.resource).netloc != host):
        if urlsplit(resource.resource).path.strip("/") == path.strip("/"):
            scopes = runtime.settings.scopes.keys() if resource.scopes is None else resource.scopes
            body: dict[str, Any] = {
                "resource": resource.resource,
                "resource_name": resource.name,
                "authorization_servers": [runtime.settings.issuer],
                "scopes_supported": sorted(scopes),
                "bearer_methods_supported": ["header"],
            }
            headers = (("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300"))
            return Answer(200, json_answer(body).body, (*headers, ("Access-Control-Allow-Origin", "*")))
    return None
