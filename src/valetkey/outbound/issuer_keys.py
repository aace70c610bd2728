"""The key that verifies a signature of an issuer, also if the issuer has moved its keys to another URL."""

from __future__ import annotations

from joserfc.jwk import Key

from .discovery import Discovery
from .errors import FetchError
from .remote_keys import RemoteKeys


def find_issuer_key(issuer: str, kid: str | None, alg: str, discovery: Discovery, keys: RemoteKeys) -> Key | None:
    """Return an issuer's key with this key id and algorithm, or ``None`` if there is none.

    If there is none at the ``jwks_uri`` of the cached metadata, or it cannot be fetched from there, the metadata is
    fetched again: the issuer may have moved its keys.

    :raises FetchError: if the keys cannot be fetched.
    :raises TooManyFetches: if too many requests wait already for other servers.
    """
    jwks_uri = discovery.find_url(issuer, "jwks_uri")
    key: Key | None = None
    error: FetchError | None = None
    try:
        key = keys.find(jwks_uri, kid, alg)
    except FetchError as cause:
        error = cause
    if key is None:
        newer_uri = discovery.find_newer_url(issuer, "jwks_uri", jwks_uri)
        if newer_uri is not None:
            return keys.find(newer_uri, kid, alg)
    if error is not None:
        raise error
    return key
