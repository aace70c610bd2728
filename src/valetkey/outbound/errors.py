"""Exceptions of outbound HTTP requests."""

from __future__ import annotations


class FetchError(Exception):
    """Base class: a URL could not be fetched, or its response cannot be used. The message says why."""


class FetchRefused(FetchError):
    """The URL is invalid, or no address of its host is allowed (SSRF protection). No request was sent to it."""


class FetchFailed(FetchError):
    """The server could not be reached in time, or its response cannot be used."""
