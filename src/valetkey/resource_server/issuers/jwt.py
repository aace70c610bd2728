"""JWTs of trusted issuers: decodes them, and verifies their header and signature (RFC 7519, RFC 8725)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError
from valetkey.outbound.issuer_keys import find_issuer_key
from valetkey.outbound.jwk_set import ALGORITHMS
from valetkey.outbound.remote_keys import RemoteKeys
from valetkey.protocol.request_body import parse_json_object
from valetkey.tokens.jws import AlgorithmRegistry, decode_unverified

from .config import TrustedIssuer
from .errors import IssuerUnavailable, invalid_token
from .products import JWT

_MAX_HEADER_LENGTH, _MAX_KID_LENGTH = 4096, 256

Members = Mapping[str, Any]


class _Registry(AlgorithmRegistry):
    max_header_length = _MAX_HEADER_LENGTH


_REGISTRY = _Registry(algorithms=ALGORITHMS, strict_check_header=False)  # unknown header members are ignored


def is_jwt(value: str) -> bool:
    """Return whether a token has the form of a JWT: three parts with dots between, the first of which is a header.

    An opaque token can have two dots as well. No signature and no claim is verified.
    """
    encoded_header, *others = value.split(".")
    if len(others) != 2:
        return False
    try:
        header = parse_json_object(urlsafe_b64decode(encoded_header + "=" * (-len(encoded_header) % 4)))
    except (ValueError, RecursionError):
        return False
    return "alg" in header  # RFC 7515 §4.1.1


def decode_token(value: str) -> tuple[Members, Members]:
    """Return the header and the claims of a JWT without verifying the signature or any claim.

    :raises InvalidToken: if the value is not a JWT, or is longer than 8192 characters.
    """
    try:
        return decode_unverified(value, registry=_REGISTRY)
    except ValueError as cause:
        raise invalid_token(str(cause), "the access token is unknown") from cause


class SignatureVerifier:
    """Verifies signatures of JWTs with the keys that issuers publish, never with a key in a JWT or at a URL in it."""

    def __init__(self, discovery: Discovery, keys: RemoteKeys) -> None:
        self._discovery = discovery
        self._keys = keys

    def verify(self, value: str, header: Members, issuer: TrustedIssuer) -> None:
        """Verify that the issuer signed the JWT.

        :param value: the JWT.
        :param header: its header, from ``decode_token``.
        :raises InvalidToken: if none of the issuer's published keys verifies the signature.
        :raises IssuerUnavailable: if the keys cannot be fetched.
        """
        alg, kid = check_header(header, issuer)
        try:
            if issuer.jwks_uri:
                key = self._keys.find(issuer.jwks_uri, kid, alg)
            else:
                key = find_issuer_key(issuer.issuer, kid, alg, self._discovery, self._keys)
        except FetchError as cause:
            raise IssuerUnavailable(f"the keys of {issuer.issuer} cannot be fetched: {cause}") from cause
        if key is None:
            raise invalid_token(f"no key of {issuer.issuer} has this kid and algorithm")
        try:
            jws.deserialize_compact(value.encode(), key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError) as cause:
            raise invalid_token("the signature is wrong") from cause


def check_header(header: Members, issuer: TrustedIssuer) -> tuple[str, str | None]:
    """Check that a JWT's header can be that of an access token of this issuer.

    Header members that have a key or its URL (``jwk``, ``jku``, ``x5c``, ``x5u``) are ignored.

    :returns: the algorithm, and the key id or ``None``.
    :raises InvalidToken: if algorithm, key id or type are not valid for this issuer, or ``crit`` names extensions.
    """
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", JWT)
    if not isinstance(alg, str) or alg not in issuer.algorithms:
        raise invalid_token("its alg is not one of the issuer's algorithms")
    if "crit" in header:  # RFC 7515 §4.1.11: no extension is supported
        raise invalid_token("crit names extensions, and none is supported")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID_LENGTH):
        raise invalid_token(f"its kid is not a string of at most {_MAX_KID_LENGTH} characters")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in issuer.shape.token_types:
        raise invalid_token("its typ is not one of the issuer's token_types")  # RFC 8725 §3.11, RFC 9068 §4
    return alg, kid
