"""Pictures of others that our own pages show: fetched by the guarded client, judged by their bytes, and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from .cached_fetch import CachedFetch, CachePool, Freshness
from .errors import FetchFailed
from .http import Fetcher

_MAX_BYTES, _MAX_ENTRIES = 131_072, 64  # bytes of one; how many are kept
_FRESHNESS = Freshness(min_interval_s=3600, retry_interval_s=300, max_stale_s=86_400)
_CONTENT_TYPES_BY_SIGNATURE = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that no browser takes for anything else."""

    content_type: str
    body: bytes


class RemoteImages:
    """Pictures at URLs; each is fetched once an hour at most, however many look at it.

    :param clock: the time by which they expire.
    :param waiting: what is entered while somebody may have to wait for one.
    """

    def __init__(
        self, fetcher: Fetcher, clock: Callable[[], float], fetch_slot: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._fetch_slot = fetch_slot
        self._pool = CachePool(self._create_entry, _MAX_ENTRIES)

    def get(self, url: str) -> Image:
        """:raises FetchProblem: where it cannot be had, or is no PNG, JPEG, GIF or WebP."""
        return self._pool.get(url).get()

    def _create_entry(self, url: str) -> CachedFetch[Image]:
        return CachedFetch(partial(self._fetch, url), self._clock, _FRESHNESS, self._fetch_slot)

    def _fetch(self, url: str) -> tuple[Image, int]:
        fetched = self._fetcher.get(url, accept="image/*", max_bytes=_MAX_BYTES, max_redirects=2)
        kind = _detect_content_type(fetched.body) if fetched.status == 200 else None
        if kind is None:
            raise FetchFailed(f"there is no picture that can be shown: status {fetched.status}")
        return Image(kind, fetched.body), fetched.max_age


def _detect_content_type(body: bytes) -> str | None:
    """By its beginning: what a server says of it could be anything. An SVG may hold a script, and is none of these."""
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _CONTENT_TYPES_BY_SIGNATURE.items() if body.startswith(beginning)), None)
