"""Cache of the protected resources that tokens can be issued for: the API, the issuer, and those in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.protected_resource import ProtectedResource
from valetkey.settings import Settings
from valetkey.storage import resources
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .feed_cache import FeedCache

TOKEN_FORMATS = ("jwt", "opaque")
_CHANGED_SUBJECT = "resources"  # subject of the entry in the change feed, and key of the only value


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
    """Cache of the protected resources, by URL, read from the database once and again after one of them has changed."""

    def __init__(self, settings: Settings, store: Store, feed: ChangeFeed) -> None:
        self._settings = settings
        self._store = store
        self._cached: FeedCache[str, Mapping[str, Resource]] = FeedCache(
            feed, self._read, _changed_subject, max_entries=1
        )

    def invalidate(self) -> None:
        """Drop all cached resources, because one of them has changed."""
        self._cached.clear()

    def all(self) -> Mapping[str, Resource]:
        """Return all protected resources by URL, including the API and the issuer.

        :raises StoreUnavailable: if the store cannot be read.
        """
        return self._cached.get_without_refresh(_CHANGED_SUBJECT, 0.0) or {}

    def get(self, url: str) -> Resource:
        """Return the protected resource with this URL.

        :raises KeyError: if there is no such resource.
        :raises StoreUnavailable: if the store cannot be read.
        """
        return self.all()[url]

    def describe_all(self) -> list[ProtectedResource]:
        """Return all protected resources as their metadata describes them (RFC 9728 §2).

        :raises StoreUnavailable: if the store cannot be read.
        """
        issuers, all_scopes = (self._settings.issuer,), self._settings.scopes.keys()
        return [
            ProtectedResource(url, resource.name, issuers, all_scopes if resource.scopes is None else resource.scopes)
            for url, resource in self.all().items()
        ]

    def _read(self, _key: str, _now: float) -> Mapping[str, Resource]:
        issuer, api, name = self._settings.issuer, self._settings.api_resource, self._settings.name
        stored = {url: _make_resource(url, metadata) for url, metadata in resources.list_all(self._store).items()}
        return {api: Resource(api, name), issuer: Resource(issuer, name), **stored}


def _changed_subject(entry: ChangeFeedEntry) -> str | None:
    return _CHANGED_SUBJECT if entry.kind == "changed" and entry.subject == _CHANGED_SUBJECT else None


def _make_resource(url: str, metadata: Mapping[str, Any]) -> Resource:
    scopes = metadata.get("scopes_supported")
    return Resource(
        url,
        metadata.get("resource_name") or url,
        metadata.get("token_format", "jwt"),
        metadata.get("signing_alg", "ES256"),
        None if scopes is None else frozenset(scopes),
    )
