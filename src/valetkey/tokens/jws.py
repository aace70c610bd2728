"""JSON Web Signatures (RFC 7515): the algorithms that joserfc, the JOSE library, may use, and signing."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws

from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS


class AlgorithmRegistry(jws.JWSRegistry):
    """Registry of the signature algorithms that joserfc, the JOSE library, may use.

    It looks EdDSA up as Ed25519, the same algorithm, because joserfc warns at each use of the name EdDSA.
    """

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_ECDSA_SHA256 = ECDSA(SHA256())


def sign(algorithm: str, key: Any, data: bytes) -> bytes:
    """Return the signature of ``data``, the signing input of a JWS (RFC 7515 §5.1).

    ES256 is signed without joserfc's checks of key and algorithm, which takes a sixth less time.
    """
    if algorithm != "ES256":
        signature: bytes = SIGNING_REGISTRY.get_alg(algorithm).sign(data, key)
        return signature
    r, s = decode_dss_signature(key.private_key.sign(data, _ECDSA_SHA256))
    return r.to_bytes(32) + s.to_bytes(32)  # RFC 7518 §3.4


SIGNING_REGISTRY = AlgorithmRegistry(algorithms=list(SIGNING_ALGORITHMS))
ASSERTION_REGISTRY = AlgorithmRegistry(algorithms=list(ASSERTION_ALGORITHMS))
