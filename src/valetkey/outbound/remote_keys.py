"""Public keys of other servers, from their JWK sets (RFC 7517 §5); cached as long as HTTP allows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from joserfc.jwk import Key

from .cached_fetch import CachedFetch, CachePool, Freshness
from .http import Fetcher
from .jwk_set import Jwk, find_key, parse_jwk_set

_ACCEPT = "application/jwk-set+json, application/json"
_MAX_SETS, _MAX_SET_BYTES = 256, 131_072
_DEFAULT_FRESHNESS = Freshness(min_interval_s=60, retry_interval_s=60, max_stale_s=3600)

_Jwks = tuple[Jwk, ...]


class RemoteKeys:
    """Cache of other servers' JWK sets, by URL. Threads that need the same set at the same time share one fetch.

    :param fetcher: HTTP client that fetches the sets.
    :param clock: returns the current time in seconds.
    :param freshness: how often a set is fetched, and how long it may be used.
    :param fetch_slot: returns a context manager for a URL that is entered while a request may have to wait for a set;
        it raises ``TooManyFetches`` if too many requests wait.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        clock: Callable[[], float],
        freshness: Freshness = _DEFAULT_FRESHNESS,
        fetch_slot: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._fetcher = fetcher
        self._sets = CachePool(
            lambda jwks_uri: CachedFetch(
                partial(self._fetch, jwks_uri), clock, freshness, partial(fetch_slot, jwks_uri)
            ),
            _MAX_SETS,
        )

    def find(self, jwks_uri: str, kid: str | None, alg: str) -> Key | None:
        """Return the public key that verifies a signature, or None if the JWK set at ``jwks_uri`` has no such key.

        If the cached set has no such key, the set is fetched again: the server may have rotated its keys.

        :param kid: the key ID in the header of the JWT; None finds the key for the algorithm if there is only one.
        :param alg: the algorithm in the header of the JWT.
        :raises FetchError: if the set cannot be fetched, and no cached set is recent enough or has the key.
        :raises TooManyFetches: if too many requests wait already for other servers.
        """
        jwk_set = self._sets.get(jwks_uri)
        jwks = jwk_set.get()
        key = find_key(jwks, kid, alg)
        if key is None:
            newer = jwk_set.get_newer(jwks)
            key = None if newer is None else find_key(newer, kid, alg)
        if key is None and (error := jwk_set.error):
            raise type(error)(*error.args)
        return key

    def _fetch(self, jwks_uri: str) -> tuple[_Jwks, int]:
        fetched = self._fetcher.get(jwks_uri, accept=_ACCEPT, max_bytes=_MAX_SET_BYTES, max_redirects=2)
        return parse_jwk_set(fetched.json()), fetched.max_age
