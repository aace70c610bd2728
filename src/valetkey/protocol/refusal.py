"""``Refusal``: what an error response says, whichever body it has, and two of its three bodies.

OAuth JSON (RFC 6749 §5.2) and problem details (RFC 9457) are here; the page is in ``web/pages.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from .errors import OAuthError
from .json_encoding import encode_json
from .unavailable import BackendUnavailable

Header = tuple[str, str]

JSON_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache"))
PROBLEM_CONTENT_TYPE = "application/problem+json"
SERVER_FAILED = "internal server error; the operator can find the reference in the log"
_UNAVAILABLE = "the server is temporarily unavailable; try again"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error response, before it is rendered as OAuth JSON, problem details or a page.

    :param error: OAuth error code, such as ``invalid_request``; only OAuth JSON has it.
    :param description: what is wrong, for the caller.
    :param reference: id of the request, which is also in the log.
    :param headers: header fields for every body, such as ``Retry-After``.
    """

    status: int
    error: str
    description: str
    reference: str
    headers: tuple[Header, ...] = ()

    def oauth_body(self) -> bytes:
        """Return the body as OAuth JSON (RFC 6749 §5.2)."""
        return encode_json({"error": self.error, "error_description": self.description})

    def oauth_headers(self) -> tuple[Header, ...]:
        """Return all header fields of the response with ``oauth_body``."""
        return (*JSON_HEADERS, ("Valetkey-Reference", self.reference), *self.headers)

    def problem_body(self, *, title: str | None = None, **members: object) -> bytes:
        """Return the body as problem details (RFC 9457).

        The problem type is ``about:blank``, so the default title is the phrase of the HTTP status (§4.2.1).

        :param members: extension members of the JSON object (§3.2); what JSON cannot represent in them becomes text.
        """
        title = title or status_phrase(self.status)
        body = {"title": title, "status": self.status, "detail": self.description, "reference": self.reference}
        return encode_json({**body, **members}, str)


def status_phrase(status: int) -> str:
    """Return the phrase of an HTTP status, such as ``Not Found``; ``Unknown Error`` if the status is not registered."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Error"


def build_refusal(cause: OAuthError | BackendUnavailable, reference: str, headers: Iterable[Header] = ()) -> Refusal:
    """Return the refusal of a request that ended with this exception.

    It has ``Retry-After`` if the exception says when to try again. The name of an unavailable backend and the
    cause are for the log only: the caller gets the same text for all of them.

    :param headers: further header fields, such as ``WWW-Authenticate``.
    """
    all_headers = (*headers, *retry_after_header(cause.retry_after))
    if isinstance(cause, BackendUnavailable):
        return Refusal(503, "temporarily_unavailable", _UNAVAILABLE, reference, all_headers)
    return Refusal(cause.status, cause.error, cause.description, reference, all_headers)


def retry_after_header(seconds: float) -> tuple[Header, ...]:
    """Return the ``Retry-After`` header field (RFC 9110 §10.2.3); none for 0, which is an unknown time."""
    return (("Retry-After", str(whole_seconds(seconds))),) if seconds else ()


def whole_seconds(seconds: float) -> int:
    """Return the number of whole seconds, at least 1, after which a refused request may be tried again."""
    return max(1, math.ceil(seconds))


def describe_wait(seconds: float) -> str:
    """Return the sentence that says how long to wait after too many attempts; empty if that is unknown."""
    minutes = math.ceil(round(seconds) / 60)
    return f"Please wait {minutes} {'minute' if minutes == 1 else 'minutes'} and try again." if minutes else ""
