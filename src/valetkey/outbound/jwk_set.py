"""The keys in a JWK set of somebody else's (RFC 7517 §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from .errors import FetchFailed

_MAX_KEYS = 32
_ED25519_NAMES = ("Ed25519", "EdDSA")
_MAX_MODULUS_LENGTH = 1366  # base64url characters: RSA keys of 8192 bits, for larger ones cost us too much
_MIN_MODULUS_LENGTH = 342  # 2048 bits (RFC 7518 §3.3)
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y", "kid", "alg")  # nothing private is kept, nor certificates
_KEY_TYPE_AND_CURVE: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
ALGORITHMS = tuple(_KEY_TYPE_AND_CURVE)  # all that a key from outside can verify; none of them is symmetric


def algorithm_names(alg: str) -> tuple[str, ...]:
    """The names of an algorithm: Ed25519 was EdDSA before RFC 9864."""
    return _ED25519_NAMES if alg in _ED25519_NAMES else (alg,)


@dataclass(slots=True)
class Jwk:
    """One key of a set, imported when it is first needed."""

    members: Mapping[str, Any]
    key: Key | None = None

    def matches(self, kid: str | None, alg: str) -> bool:
        jwk = self.members
        return (
            (jwk.get("kty"), jwk.get("crv")) == _KEY_TYPE_AND_CURVE.get(alg)
            and jwk.get("alg", alg) in algorithm_names(alg)
            and kid in (None, jwk.get("kid"))
        )

    def import_key(self) -> Key | None:
        if self.key is None:
            try:
                # ``fits`` has judged alg; the library knows only one of the names of Ed25519.
                self.key = JWKRegistry.import_key({name: self.members[name] for name in self.members if name != "alg"})
            except (JoseError, ValueError, TypeError, KeyError):  # a point that is not on its curve, say
                return None
        return self.key


def parse_jwk_set(document: Any) -> tuple[Jwk, ...]:
    """The keys that may verify signatures; others are passed over (RFC 7517 §5).

    :raises FetchFailed: where it is not a JWK set.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise FetchFailed("what is at the URL of the JWK set is not a JWK set (RFC 7517 §5)")
    return tuple(
        Jwk({name: key[name] for name in _PUBLIC_MEMBERS if name in key})
        for key in keys[:_MAX_KEYS]
        if isinstance(key, dict) and _can_verify(key)
    )


def _can_verify(key: Mapping[str, Any]) -> bool:
    operations = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return False
    if key.get("kty") != "RSA":
        return key.get("kty") in ("EC", "OKP")
    modulus, exponent = key.get("n"), key.get("e")
    return (
        isinstance(modulus, str)
        and _MIN_MODULUS_LENGTH <= len(modulus) <= _MAX_MODULUS_LENGTH
        and isinstance(exponent, str)
        and len(exponent) <= 8
    )


def find_key(jwks: tuple[Jwk, ...], kid: str | None, alg: str) -> Key | None:
    """The key that verifies this algorithm; without a ``kid`` the only one that does."""
    fits = [jwk for jwk in jwks if jwk.matches(kid, alg)]
    return fits[0].import_key() if len(fits) == 1 or (fits and kid is not None) else None
