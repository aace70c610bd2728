"""The protected resources that tokens can be for: the API itself, the issuer, and those in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.settings import Settings
from valetkey.storage import resources
from valetkey.storage.store import Store

TOKEN_FORMATS = ("jwt", "opaque")


@dataclass(frozen=True, slots=True)
class Resource:
    """A protected resource (RFC 9728): ``scopes`` None means all of the server's."""

    resource: str
    name: str
    token_format: str = "jwt"
    signing_alg: str = "ES256"
    scopes: frozenset[str] | None = None


class Resources:
    """The resources of the store, read once and again when the feed says that they changed."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._loaded: dict[str, Resource] | None = None

    def forget(self) -> None:
        self._loaded = None

    def all(self) -> Mapping[str, Resource]:
        loaded = self._loaded
        if loaded is None:
            own = self._settings.api_resource
            loaded = {own: Resource(own, self._settings.name)}
            loaded.setdefault(self._settings.issuer, Resource(self._settings.issuer, self._settings.name))
            loaded |= {url: _resource(url, metadata) for url, metadata in resources.every(self._store).items()}
            self._loaded = loaded
        return loaded

    def find(self, url: str) -> Resource:
        """:raises KeyError: where there is no such resource."""
        return self.all()[url]


def _resource(url: str, metadata: Mapping[str, Any]) -> Resource:
    scopes = metadata.get("scopes_supported")
    return Resource(
        url,
        metadata.get("resource_name") or url,
        metadata.get("token_format", "jwt"),
        metadata.get("signing_alg", "ES256"),
        None if scopes is None else frozenset(scopes),
    )
