"""Exceptions of outbound HTTP requests."""

from __future__ import annotations

from valetkey.protocol.unavailable import BackendUnavailable


class FetchError(Exception):
    """Base class: a URL could not be fetched, or its response cannot be used. The message says why."""


class FetchRefused(FetchError):
    """The URL is invalid, or no address of its host is allowed (SSRF protection). No request was sent to it."""


class FetchFailed(FetchError):
    """The server could not be reached in time, or its response cannot be used."""


class TooManyFetches(BackendUnavailable):
    """Too many requests wait for documents of other servers already, so that this one does not wait, too."""

    retry_after = 1
