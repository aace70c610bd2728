"""The public keys of others, from their JWK sets (RFC 7517 §5), kept as HTTP allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from joserfc.jwk import Key

from .http import Fetcher
from .jwk_set import Jwk, find_key, read_jwk_set
from .problems import FetchProblem

_ACCEPT = "application/jwk-set+json, application/json"
_MOST_SETS, _LARGEST_SET = 256, 131_072
_LEAST_AGE = 60  # seconds between two fetches of one set, whatever is asked for and whatever came
_STALE = 3600  # seconds that old keys serve while new ones cannot be had (RFC 9111 §4.2.4)


@dataclass(slots=True)
class _Kept:
    """One JWK set, or why there is none."""

    jwks: tuple[Jwk, ...] = ()
    problem: FetchProblem | None = None
    asked_at: float = float("-inf")
    fetched_at: float = float("-inf")
    fresh_until: float = float("-inf")
    fetching: threading.Lock = field(default_factory=threading.Lock)


class RemoteKeys:
    """Finds keys in JWK sets. Each set is fetched once however many ask, and once a minute at most.

    :param clock: the time by which sets expire.
    """

    def __init__(self, fetcher: Fetcher, clock: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._sets: OrderedDict[str, _Kept] = OrderedDict()
        self._guarding = threading.Lock()

    def find(self, jwks_uri: str, kid: str | None, alg: str) -> Key | None:
        """The public key that verifies this algorithm; None where there is none.

        :param kid: None for the only one that verifies it.
        :raises FetchProblem: where the set cannot be had, and no set from before is recent enough.
        """
        kept = self._kept(jwks_uri)
        if self._clock() < kept.fresh_until and (key := find_key(kept.jwks, kid, alg)):
            return key  # without waiting for the fetch that somebody's unknown kid causes
        with kept.fetching:
            if self._clock() >= kept.fresh_until:
                self._refresh(jwks_uri, kept)
            key = find_key(kept.jwks, kid, alg)
            if key is None and self._refresh(jwks_uri, kept):  # the other side may have rotated its keys
                key = find_key(kept.jwks, kid, alg)
            if key is None and kept.problem:
                raise type(kept.problem)(*kept.problem.args)
            return key

    def _kept(self, jwks_uri: str) -> _Kept:
        with self._guarding:
            kept = self._sets.setdefault(jwks_uri, _Kept())
            self._sets.move_to_end(jwks_uri)
            if len(self._sets) > _MOST_SETS:
                self._sets.popitem(last=False)
            return kept

    def _refresh(self, jwks_uri: str, kept: _Kept) -> bool:
        """Whether the set was asked for; not again within the minute."""
        now = self._clock()
        if now < kept.asked_at + _LEAST_AGE:
            return False
        kept.asked_at = now
        try:
            fetched = self._fetcher.get(jwks_uri, accept=_ACCEPT, max_bytes=_LARGEST_SET, max_redirects=2)
            jwks = read_jwk_set(fetched.json())
        except FetchProblem as problem:
            kept.problem = problem.with_traceback(None)
            if now > kept.fetched_at + _STALE:
                kept.jwks = ()
            return True
        kept.jwks, kept.problem = jwks, None
        kept.fetched_at, kept.fresh_until = now, now + max(fetched.max_age, _LEAST_AGE)
        return True
