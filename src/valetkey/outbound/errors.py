"""Exceptions of outbound HTTP requests."""

from __future__ import annotations


class FetchError(Exception):
    """Base class: a URL could not be fetched, or its response cannot be used. The message says why."""


class FetchRefused(FetchError):
    """The URL or the addresses of its host are not allowed (SSRF protection); nothing was sent."""


class FetchFailed(FetchError):
    """The server could not be reached in time, or its response cannot be used."""
