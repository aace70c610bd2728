"""Images from other servers, such as clients' logos: fetched with SSRF protection, checked by their bytes, cached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from .cached_fetch import CachedFetch, CachePool, Freshness
from .errors import FetchFailed
from .http import Fetcher

_MAX_BYTES, _MAX_ENTRIES = 131_072, 64  # size of an image; number of cached images
_FRESHNESS = Freshness(min_interval_s=3600, retry_interval_s=300, max_stale_s=86_400)
_CONTENT_TYPES_BY_SIGNATURE = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True, slots=True)
class Image:
    """Image from another server, whose content type was detected from its bytes: PNG, JPEG, GIF or WebP."""

    content_type: str
    body: bytes


class RemoteImages:
    """Cache of images by URL; each image is fetched at most once an hour, however many users see it.

    :param fetcher: HTTP client that fetches the images.
    :param clock: returns the current time in seconds.
    :param fetch_slot: returns a context manager for a URL that is entered while a request may have to wait for an
        image; it raises ``TooManyFetches`` if too many requests wait.
    """

    def __init__(
        self, fetcher: Fetcher, clock: Callable[[], float], fetch_slot: Callable[[str], AbstractContextManager[object]]
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._fetch_slot = fetch_slot
        self._pool = CachePool(self._create_entry, _MAX_ENTRIES)

    def get(self, url: str) -> Image:
        """Return the image at a URL.

        :raises FetchError: if it cannot be fetched, or is not a PNG, JPEG, GIF or WebP image.
        :raises TooManyFetches: if too many requests wait already, and no cached image is recent enough.
        """
        return self._pool.get(url).get()

    def _create_entry(self, url: str) -> CachedFetch[Image]:
        return CachedFetch(partial(self._fetch, url), self._clock, _FRESHNESS, partial(self._fetch_slot, url))

    def _fetch(self, url: str) -> tuple[Image, int]:
        fetched = self._fetcher.get(url, accept="image/*", max_bytes=_MAX_BYTES, max_redirects=2)
        content_type = _detect_content_type(fetched.body) if fetched.status == 200 else None
        if content_type is None:
            raise FetchFailed(f"the response is not a PNG, JPEG, GIF or WebP image: status {fetched.status}")
        return Image(content_type, fetched.body), fetched.max_age


def _detect_content_type(body: bytes) -> str | None:
    """Return the content type of an image, such as ``image/png``; None if it is not PNG, JPEG, GIF or WebP.

    The type is detected from the first bytes: the ``Content-Type`` header is not trusted. SVG is not supported, as an
    SVG image may contain a script.
    """
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    signatures = _CONTENT_TYPES_BY_SIGNATURE.items()
    return next((content_type for signature, content_type in signatures if body.startswith(signature)), None)
