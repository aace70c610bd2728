"""Cache of the protected resources that tokens can be issued for: the API, the issuer, and those in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.settings import Settings
from valetkey.storage import resources
from valetkey.storage.engine.store import Store

from .single_value import CachedValue

TOKEN_FORMATS = ("jwt", "opaque")


@dataclass(frozen=True, slots=True)
class Resource:
    """A protected resource (RFC 9728): an API that access tokens are issued for.

    ``scopes`` are the scopes that tokens for it may have; ``None`` allows all scopes of the server.
    """

    resource: str  # its URL
    name: str
    token_format: str = "jwt"
    signing_alg: str = "ES256"
    scopes: frozenset[str] | None = None


class ResourceCache:
    """Cache of the protected resources, by URL, read from the database once and again after ``invalidate``."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._cached: CachedValue[Mapping[str, Resource]] = CachedValue()

    def invalidate(self) -> None:
        """Drop all cached resources, because one of them has changed."""
        self._cached.invalidate()

    def all(self) -> Mapping[str, Resource]:
        """Return all protected resources by URL, including the API and the issuer.

        :raises StoreUnavailable: if the store cannot be read.
        """
        return self._cached.value or self._cached.load(self._read)

    def get(self, url: str) -> Resource:
        """Return the protected resource with this URL.

        :raises KeyError: if there is no such resource.
        :raises StoreUnavailable: if the store cannot be read.
        """
        return self.all()[url]

    def _read(self) -> Mapping[str, Resource]:
        issuer, api, name = self._settings.issuer, self._settings.api_resource, self._settings.name
        stored = {url: _make_resource(url, metadata) for url, metadata in resources.list_all(self._store).items()}
        return {api: Resource(api, name), issuer: Resource(issuer, name), **stored}


def _make_resource(url: str, metadata: Mapping[str, Any]) -> Resource:
    scopes = metadata.get("scopes_supported")
    return Resource(
        url,
        metadata.get("resource_name") or url,
        metadata.get("token_format", "jwt"),
        metadata.get("signing_alg", "ES256"),
        None if scopes is None else frozenset(scopes),
    )
