"""Where an issuer has its keys and its introspection endpoint, as its own metadata says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from valetkey.outbound.cached_fetch import CachedFetch, Freshness
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.http import Fetcher
from valetkey.protocol.uri import endpoint_uri_problem

Metadata = Mapping[str, Any]

_OPENID_PATH, _OAUTH_PATH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


class Discovery:
    """The metadata of trusted issuers. Only an address made of a trusted issuer's identifier is ever asked for it.

    :param ages: how long documents are kept, and when they are asked for again.
    """

    def __init__(
        self, fetcher: Fetcher, clock: Callable[[], float], issuers: Iterable[str], freshness: Freshness
    ) -> None:
        self._fetcher = fetcher
        self._documents = {
            issuer: CachedFetch[Metadata](partial(self._fetch, issuer), clock, freshness) for issuer in issuers
        }

    def find_url(self, issuer: str, member: str) -> str:
        """The address that an issuer's metadata gives as this member.

        :raises FetchProblem: where the metadata cannot be had, is another issuer's, or does not say.
        """
        url = self._documents[issuer].get().get(member)
        host = urlsplit(issuer).hostname
        if not isinstance(url, str):
            raise FetchFailed(f"the metadata of {host} has no {member}")
        if problem := endpoint_uri_problem(url):
            raise FetchFailed(f"the {member} in the metadata of {host} cannot be used: {problem}")
        return url

    def _fetch(self, issuer: str) -> tuple[Metadata, int]:
        host = urlsplit(issuer).hostname
        fetched = self._fetcher.get(openid_metadata_url(issuer))
        if fetched.status != 200:
            fetched = self._fetcher.get(oauth_metadata_url(issuer))
        document = fetched.json()
        if not isinstance(document, dict):
            raise FetchFailed(f"the metadata of {host} is no JSON object")
        if document.get("issuer") != issuer:  # RFC 8414 §3.3, OpenID Connect Discovery §4.3
            raise FetchFailed(f"the metadata at {host} is another issuer's: name it as the metadata does")
        return document, fetched.max_age


def openid_metadata_url(issuer: str) -> str:
    """OpenID Connect Discovery §4: after the issuer's path."""
    return issuer.rstrip("/") + _OPENID_PATH


def oauth_metadata_url(issuer: str) -> str:
    """RFC 8414 §3.1: between host and path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{_OAUTH_PATH}{parts.path.rstrip('/')}"
