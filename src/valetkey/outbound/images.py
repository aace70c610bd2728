"""Pictures of others that our own pages show: fetched by the guarded client, judged by their bytes, and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from .bounds import FetchFailed
from .cached_fetch import Ages, Kept, KeptByUrl
from .http import Fetcher

_LARGEST, _MOST = 131_072, 64  # bytes of one; how many are kept
_AGES = Ages(least=3600, retry=300, stale=86_400)
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that no browser takes for anything else."""

    kind: str
    body: bytes


class RemoteImages:
    """Pictures at URLs; each is fetched once an hour at most, however many look at it.

    :param clock: the time by which they expire.
    :param waiting: what is entered while somebody may have to wait for one.
    """

    def __init__(
        self, fetcher: Fetcher, clock: Callable[[], float], waiting: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._waiting = waiting
        self._kept = KeptByUrl(self._keep, _MOST)

    def get(self, url: str) -> Image:
        """:raises FetchProblem: where it cannot be had, or is no PNG, JPEG, GIF or WebP."""
        return self._kept.at(url).get()

    def _keep(self, url: str) -> Kept[Image]:
        return Kept(partial(self._fetch, url), self._clock, _AGES, self._waiting)

    def _fetch(self, url: str) -> tuple[Image, int]:
        fetched = self._fetcher.get(url, accept="image/*", max_bytes=_LARGEST, max_redirects=2)
        kind = _kind_of(fetched.body) if fetched.status == 200 else None
        if kind is None:
            raise FetchFailed(f"there is no picture that can be shown: status {fetched.status}")
        return Image(kind, fetched.body), fetched.max_age


def _kind_of(body: bytes) -> str | None:
    """By its beginning: what a server says of it could be anything. An SVG may hold a script, and is none of these."""
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS.items() if body.startswith(beginning)), None)
