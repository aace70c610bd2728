"""The public keys of others, from their JWK sets (RFC 7517 §5), kept as HTTP allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from .http import Fetcher
from .problems import FetchFailed, FetchProblem

_ACCEPT = "application/jwk-set+json, application/json"
_MOST_SETS, _MOST_KEYS, _LARGEST_SET = 256, 32, 131_072
_LEAST_AGE = 60  # seconds between two fetches of one set, whatever is asked for and whatever came
_STALE = 3600  # seconds that old keys serve while new ones cannot be had (RFC 9111 §4.2.4)
_LARGEST_MODULUS = 1366  # base64url characters: RSA keys of 8192 bits, for larger ones cost us too much
_SMALLEST_MODULUS = 342  # 2048 bits (RFC 7518 §3.3)
_MEMBERS = ("kty", "n", "e", "crv", "x", "y", "kid", "alg")  # nothing private is kept, nor certificates
_KINDS: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}


@dataclass(slots=True)
class _Jwk:
    """One key of a set, imported when it is first needed."""

    members: Mapping[str, Any]
    key: Key | None = None

    def fits(self, kid: str | None, alg: str) -> bool:
        jwk = self.members
        return (
            (jwk.get("kty"), jwk.get("crv")) == _KINDS.get(alg)
            and jwk.get("alg", alg) == alg
            and kid in (None, jwk.get("kid"))
        )

    def imported(self) -> Key | None:
        if self.key is None:
            try:
                self.key = JWKRegistry.import_key(dict(self.members))
            except (JoseError, ValueError, TypeError, KeyError):  # a point that is not on its curve, say
                return None
        return self.key


@dataclass(slots=True)
class _Kept:
    """One JWK set, or why there is none."""

    jwks: tuple[_Jwk, ...] = ()
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
        if self._clock() < kept.fresh_until and (key := _find(kept, kid, alg)):
            return key  # without waiting for the fetch that somebody's unknown kid causes
        with kept.fetching:
            if self._clock() >= kept.fresh_until:
                self._refresh(jwks_uri, kept)
            key = _find(kept, kid, alg)
            if key is None and self._refresh(jwks_uri, kept):  # the other side may have rotated its keys
                key = _find(kept, kid, alg)
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
            jwks = _read(fetched.json())
        except FetchProblem as problem:
            kept.problem = problem.with_traceback(None)
            if now > kept.fetched_at + _STALE:
                kept.jwks = ()
            return True
        kept.jwks, kept.problem = jwks, None
        kept.fetched_at, kept.fresh_until = now, now + max(fetched.max_age, _LEAST_AGE)
        return True


def _read(document: Any) -> tuple[_Jwk, ...]:
    """The keys that may verify signatures; others are passed over (RFC 7517 §5)."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise FetchFailed("what is at the URL of the JWK set is not a JWK set (RFC 7517 §5)")
    return tuple(
        _Jwk({name: key[name] for name in _MEMBERS if name in key})
        for key in keys[:_MOST_KEYS]
        if isinstance(key, dict) and _verifies(key)
    )


def _verifies(key: Mapping[str, Any]) -> bool:
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return False
    if key.get("kty") != "RSA":
        return key.get("kty") in ("EC", "OKP")
    modulus, exponent = key.get("n"), key.get("e")
    return (
        isinstance(modulus, str)
        and _SMALLEST_MODULUS <= len(modulus) <= _LARGEST_MODULUS
        and isinstance(exponent, str)
        and len(exponent) <= 8
    )


def _find(kept: _Kept, kid: str | None, alg: str) -> Key | None:
    fits = [jwk for jwk in kept.jwks if jwk.fits(kid, alg)]
    return fits[0].imported() if len(fits) == 1 or (fits and kid is not None) else None
