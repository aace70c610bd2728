"""JSON Web Signatures (RFC 7515): the algorithms that joserfc, the JOSE library, may use, signing and decoding."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.errors import JoseError

from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS
from valetkey.protocol.request_body import parse_json_object

_MAX_LENGTH = 8192  # characters


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


def decode_unverified(
    value: str, *, max_length: int = _MAX_LENGTH, registry: jws.JWSRegistry | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a JWT (RFC 7519 §7.2) without verifying the signature or any claim.

    :param max_length: the longest JWT to decode, in characters.
    :param registry: what the header may be, if it is not joserfc's default.
    :raises ValueError: if the value is not a JWT whose header and claims are JSON objects, or is too long.
    """
    if len(value) > max_length or not value.isascii() or value.count(".") != 2:
        raise ValueError("it is not a JWT, or too long")
    try:
        token = jws.extract_compact(value.encode(), registry=registry)
        header, claims = token.headers(), parse_json_object(token.payload)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise ValueError(f"it is not a JWT: {type(cause).__name__}") from cause
    if not isinstance(header, dict):  # joserfc accepts an array with the member "alg"
        raise ValueError("it is not a JWT: its header is not an object")
    return header, claims


SIGNING_REGISTRY = AlgorithmRegistry(algorithms=list(SIGNING_ALGORITHMS))
ASSERTION_REGISTRY = AlgorithmRegistry(algorithms=list(ASSERTION_ALGORITHMS))
