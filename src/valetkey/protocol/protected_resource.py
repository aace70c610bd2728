"""Protected resource metadata (RFC 9728): tells clients which issuer and scopes an API accepts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from .json_encoding import encode_json
from .uri import insert_metadata_path

RESOURCE_METADATA_PATH = "/.well-known/oauth-protected-resource"
RESOURCE_METADATA_HEADERS = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "public, max-age=300"),
    ("Access-Control-Allow-Origin", "*"),
)


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """A protected resource as its metadata describes it (RFC 9728 §2).

    :param identifier: the resource identifier, a URL.
    :param name: the resource's name, for users to read.
    :param issuers: identifiers of the authorization servers whose tokens the resource accepts.
    :param scopes: the scopes of the resource.
    """

    identifier: str
    name: str
    issuers: tuple[str, ...]
    scopes: Collection[str]


def metadata_url(resource: str) -> str:
    """Return the URL of a resource's metadata: the well-known path between its host and path (RFC 9728 §3.1)."""
    return insert_metadata_path(resource, RESOURCE_METADATA_PATH)


def build_metadata_document(resource: ProtectedResource) -> bytes:
    """Return a resource's metadata as JSON (RFC 9728 §2), without empty members (§3.2)."""
    body = {
        "resource": resource.identifier,
        "resource_name": resource.name,
        "authorization_servers": list(resource.issuers),
        "scopes_supported": sorted(resource.scopes),
        "bearer_methods_supported": ["header"],
    }
    return encode_json({name: value for name, value in body.items() if value})


def find_resource(resources: Iterable[ProtectedResource], path: str, host: str) -> ProtectedResource | None:
    """Return the resource whose identifier has this path, or ``None`` if there is none.

    :param path: path of the resource identifier, with or without slashes at its ends.
    :param host: host of the request. If resources on several hosts have this path, the one on this host is preferred.
    """
    candidates = [each for each in resources if urlsplit(each.identifier).path.strip("/") == path.strip("/")]
    return min(candidates, key=lambda resource: urlsplit(resource.identifier).netloc != host, default=None)
