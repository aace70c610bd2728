"""Metadata of other authorization servers and OpenID Providers (RFC 8414, OpenID Connect Discovery)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from valetkey.protocol.uri import endpoint_uri_problem, insert_metadata_path

from .cached_fetch import CachedFetch, Freshness
from .errors import FetchFailed
from .http import Fetcher

Metadata = Mapping[str, Any]

_OPENID_PATH, _OAUTH_PATH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


class Discovery:
    """Cache of the metadata of trusted issuers. It is fetched only from URLs built from a trusted issuer's identifier.

    :param issuers: identifiers of the trusted issuers.
    :param freshness: how long metadata is cached, and when it is fetched again.
    :param fetch_slot: returns a context manager for a URL that is entered while a request may have to wait for
        metadata; it raises ``TooManyFetches`` if too many requests wait.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        clock: Callable[[], float],
        issuers: Iterable[str],
        freshness: Freshness,
        fetch_slot: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._fetcher = fetcher
        self._documents = {
            issuer: CachedFetch[Metadata](partial(self._fetch, issuer), clock, freshness, partial(fetch_slot, issuer))
            for issuer in issuers
        }

    def get(self, issuer: str) -> Metadata:
        """Return the metadata of an issuer.

        :raises FetchError: if it cannot be fetched, or is for another issuer.
        """
        return self._documents[issuer].get()

    def find_url(self, issuer: str, member: str) -> str:
        """Return a URL from an issuer's metadata.

        :param member: name of the metadata member that has the URL, such as ``jwks_uri``.
        :raises FetchError: if the metadata cannot be fetched, is for another issuer, or has no valid URL in ``member``.
        """
        url = self.get(issuer).get(member)
        host = urlsplit(issuer).hostname
        if not isinstance(url, str):
            raise FetchFailed(f"the metadata of {host} has no {member}")
        if problem := endpoint_uri_problem(url):
            raise FetchFailed(f"the {member} in the metadata of {host} cannot be used: {problem}")
        return url

    def find_newer_url(self, issuer: str, member: str, url: str) -> str | None:
        """Return the URL from an issuer's newest metadata if it is another than ``url``, else ``None``.

        Call this if what is at ``url`` is not what is needed: the issuer may have moved it. The metadata is fetched
        again, but at most once in ``min_interval_s`` seconds.

        :param url: the URL that ``find_url`` returned.
        :raises FetchError: if the newer metadata has no valid URL in ``member``.
        """
        newer_url = self.find_url(issuer, member)
        if newer_url == url:
            document = self._documents[issuer]
            document.get_newer(document.get())
            newer_url = self.find_url(issuer, member)
        return None if newer_url == url else newer_url

    def _fetch(self, issuer: str) -> tuple[Metadata, int]:
        host = urlsplit(issuer).hostname
        fetched = self._fetcher.get(openid_metadata_url(issuer))
        if fetched.status != 200:
            fetched = self._fetcher.get(oauth_metadata_url(issuer))
        document = fetched.json()
        if not isinstance(document, dict):
            raise FetchFailed(f"the metadata of {host} is not a JSON object")
        if document.get("issuer") != issuer:  # RFC 8414 §3.3, OpenID Connect Discovery §4.3
            raise FetchFailed(
                f"the metadata at {host} is for another issuer: write the issuer exactly as the metadata does"
            )
        return document, fetched.max_age


def openid_metadata_url(issuer: str) -> str:
    """Return the URL of an issuer's OpenID metadata: the well-known path after its own path (OIDC Discovery §4)."""
    return issuer.rstrip("/") + _OPENID_PATH


def oauth_metadata_url(issuer: str) -> str:
    """Return the URL of an issuer's OAuth metadata: the well-known path between its host and path (RFC 8414 §3.1)."""
    return insert_metadata_path(issuer, _OAUTH_PATH)
