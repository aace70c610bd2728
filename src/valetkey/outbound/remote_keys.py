"""The public keys of others, from their JWK sets (RFC 7517 §5), kept as HTTP allows."""

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
    """Finds keys in JWK sets. Each set is fetched once however many ask.

    :param clock: the time by which sets expire.
    :param ages: how often a set is asked for.
    :param waiting: what is entered while somebody may have to wait for a set.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        clock: Callable[[], float],
        freshness: Freshness = _DEFAULT_FRESHNESS,
        fetch_slot: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._fetcher = fetcher
        self._sets = CachePool(
            lambda jwks_uri: CachedFetch(partial(self._fetch, jwks_uri), clock, freshness, fetch_slot), _MAX_SETS
        )

    def find(self, jwks_uri: str, kid: str | None, alg: str) -> Key | None:
        """The public key that verifies this algorithm; None where there is none.

        :param kid: None for the only one that verifies it.
        :raises FetchProblem: where the set cannot be had, and no set from before is recent enough.
        """
        kept = self._sets.get(jwks_uri)
        jwks = kept.get()
        key = find_key(jwks, kid, alg)
        if key is None:  # the other side may have rotated its keys
            newer = kept.get_newer(jwks)
            key = None if newer is None else find_key(newer, kid, alg)
        if key is None and (problem := kept.error):
            raise type(problem)(*problem.args)
        return key

    def _fetch(self, jwks_uri: str) -> tuple[_Jwks, int]:
        fetched = self._fetcher.get(jwks_uri, accept=_ACCEPT, max_bytes=_MAX_SET_BYTES, max_redirects=2)
        return parse_jwk_set(fetched.json()), fetched.max_age
