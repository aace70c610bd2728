"""The keys in a JWK set that another server publishes (RFC 7517 §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from .errors import FetchFailed

_MAX_KEYS = 32
_ED25519_NAMES = ("Ed25519", "EdDSA")
_MAX_MODULUS_LENGTH = 1366  # base64url characters: RSA keys of 8192 bits; larger ones cost too much time
_MIN_MODULUS_LENGTH = 342  # 2048 bits (RFC 7518 §3.3)
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y", "kid", "alg")  # private members and certificates are dropped
_KEY_TYPE_AND_CURVE: Mapping[str, tuple[str, str | None]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
ALGORITHMS = tuple(_KEY_TYPE_AND_CURVE)  # accepted for signatures with keys of other servers; none is symmetric


def algorithm_names(alg: str) -> tuple[str, ...]:
    """Return all names of a signature algorithm: Ed25519 was called EdDSA before RFC 9864, others have one name."""
    return _ED25519_NAMES if alg in _ED25519_NAMES else (alg,)


@dataclass(slots=True)
class Jwk:
    """One public key of a JWK set; its JSON is turned into a key object when the key is first needed.

    :param members: the public members of the JWK, such as ``kty`` and ``x``.
    :param key: the key object, or None if it was not imported yet.
    """

    members: Mapping[str, Any]
    key: Key | None = None

    def matches(self, kid: str | None, alg: str) -> bool:
        """Return whether this key can verify signatures of an algorithm and has this ``kid`` (``None`` accepts any)."""
        jwk = self.members
        return (
            (jwk.get("kty"), jwk.get("crv")) == _KEY_TYPE_AND_CURVE.get(alg)
            and jwk.get("alg", alg) in algorithm_names(alg)
            and kid in (None, jwk.get("kid"))
        )

    def import_key(self) -> Key | None:
        """Return the key object, or None if the JWK is invalid."""
        if self.key is None:
            try:
                # Without alg: ``matches`` has checked it, and joserfc accepts only one of the names of Ed25519.
                self.key = JWKRegistry.import_key({name: self.members[name] for name in self.members if name != "alg"})
            except (JoseError, ValueError, TypeError, KeyError):  # for example, a point that is not on its curve
                return None
        return self.key


def parse_jwk_set(document: Any) -> tuple[Jwk, ...]:
    """Return the keys of a JWK set that can verify signatures; other keys are ignored (RFC 7517 §5).

    Only the first 32 keys are read.

    :param document: the decoded JSON of the JWK set.

    :raises FetchFailed: if the document is not a JWK set.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise FetchFailed("the document at the URL of the JWK set is not a JWK set (RFC 7517 §5)")
    return tuple(
        Jwk({name: key[name] for name in _PUBLIC_MEMBERS if name in key})
        for key in keys[:_MAX_KEYS]
        if isinstance(key, dict) and _can_verify(key)
    )


def _can_verify(key: Mapping[str, Any]) -> bool:
    """Return whether a JWK is an EC or OKP key, or an RSA key of acceptable size, and may verify signatures."""
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
    """Return the first key with this ``kid`` for this algorithm; None if there is no such key, or it is invalid.

    If ``kid`` is None, return the key for the algorithm if there is exactly one, else None.
    """
    matching = [jwk for jwk in jwks if jwk.matches(kid, alg)]
    return matching[0].import_key() if len(matching) == 1 or (matching and kid is not None) else None
