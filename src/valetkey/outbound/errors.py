"""Exceptions of outbound HTTP requests and mail."""

from __future__ import annotations

from valetkey.protocol.unavailable import BackendUnavailable


class FetchError(Exception):
    """Base class: a URL could not be fetched, or its response cannot be used. The message says why."""


class FetchRefused(FetchError):
    """The URL is invalid, or no address of its host is allowed (SSRF protection). No request was sent to it."""


class FetchFailed(FetchError):
    """The server could not be reached in time, or its response cannot be used."""


class UnusableResponse(FetchFailed):
    """The server responded in time, but its response cannot be used: it is too large, for example."""


class TooManyFetches(BackendUnavailable):
    """The limit of requests that may wait for other servers is reached, so this one fails at once (503)."""

    retry_after = 1


class MailNotSent(Exception):
    """The mail server could not be reached, or refused the sign-in or the message; ``str(error)`` says which."""


class MailRefused(MailNotSent):
    """The recipient's address is not valid, or the mail server refuses it for good: another attempt would fail too."""
