"""The algorithms as the JOSE library is to know them."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws

from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS


class AlgorithmRegistry(jws.JWSRegistry):
    """Those that are served; joserfc warns of the name EdDSA at each use, though it is the same as Ed25519."""

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_ECDSA_SHA256 = ECDSA(SHA256())


def sign(algorithm: str, key: Any, data: bytes) -> bytes:
    """The signature of a JWS (RFC 7515 §5.1); ES256 without the library's look at key and algorithm: a sixth less."""
    if algorithm != "ES256":
        signature: bytes = SIGNING_REGISTRY.get_alg(algorithm).sign(data, key)
        return signature
    r, s = decode_dss_signature(key.private_key.sign(data, _ECDSA_SHA256))
    return r.to_bytes(32) + s.to_bytes(32)  # RFC 7518 §3.4


SIGNING_REGISTRY = AlgorithmRegistry(algorithms=list(SIGNING_ALGORITHMS))
ASSERTION_REGISTRY = AlgorithmRegistry(algorithms=list(ASSERTION_ALGORITHMS))
