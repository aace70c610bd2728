"""The entity tag of an HTTP response (RFC 9110 §8.8.3), computed from its content or version."""

from __future__ import annotations

import hashlib


def etag_of(version: object, *, weak: bool = False) -> str:
    """Return the value of the ``ETag`` header for a version of a resource: half of a SHA-256 digest in hex, in quotes.

    See RFC 9110 §8.8.3.

    :param version: what changes with the resource: a version number, a time, or the content as text or bytes.
    :param weak: return a weak ETag, for content that has the same meaning but not always the same bytes. A weak ETag
        never matches ``If-Match``.
    """
    text = version if isinstance(version, bytes) else str(version).encode()
    return f'{"W/" if weak else ""}"{hashlib.sha256(text).hexdigest()[:32]}"'
