"""Mark routes as deprecated with the headers ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and ``Link``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from flask import Response, after_this_request, current_app
from werkzeug.http import http_date
from werkzeug.urls import iri_to_uri

from valetkey.web.async_views import ensure_sync
from valetkey.web.decorator_calls import requires_parentheses

from .context import View

DEPRECATED_ATTRIBUTE = "__valetkey_deprecated__"  # the attribute of a view that holds its Deprecation
DateLike = str | date | datetime | float


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The deprecation of a route.

    ``since`` is when it is deprecated and ``sunset`` when it stops responding, in seconds since 1970; ``link`` is the
    URL of a page that says what to use instead. ``sunset`` and ``link`` are None if unknown.
    """

    since: float
    sunset: float | None
    link: str | None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The response headers that announce the deprecation: ``Deprecation``, ``Sunset`` and ``Link``."""
        headers = [("Deprecation", f"@{int(self.since)}")]  # RFC 9745 §2.1: a structured-field date
        if self.sunset is not None:
            headers.append(("Sunset", http_date(self.sunset)))  # RFC 8594 §3
        for relation in ("deprecation", "sunset") if self.sunset is not None else ("deprecation",):
            if self.link is not None:
                headers.append(("Link", f'<{self.link}>; rel="{relation}"; type="text/html"'))
        return headers


@requires_parentheses('since="2026-01-31"')
def deprecated(*, since: DateLike, sunset: DateLike | None = None, link: str | None = None) -> Any:
    """Decorate a view as deprecated: its responses get ``Deprecation``, ``Sunset`` and ``Link`` headers.

    So do the responses to exceptions of the view, such as those of ``abort`` and of the app's error handlers.

    The OpenAPI document marks the operation as deprecated. A class-based view can list it in ``decorators``.

    A date is an ISO 8601 date or time such as ``2026-01-31``, a ``date``, a ``datetime`` (UTC if it has no time zone),
    or seconds since 1970.

    :param since: when the route was or will be deprecated (RFC 9745).
    :param sunset: when the route will stop responding (RFC 8594).
    :param link: URL of a page that says what to use instead. Other characters than those of ASCII are encoded.
    :raises TypeError: if it is written without parentheses.
    :raises ValueError: if a date cannot be parsed, if ``sunset`` is before ``since`` (RFC 9745 §4), or if ``link`` is
        not a URL.
    """
    url = None if link is None else _to_url(link)
    deprecation = Deprecation(_to_timestamp(since), None if sunset is None else _to_timestamp(sunset), url)
    if deprecation.sunset is not None and deprecation.sunset < deprecation.since:
        raise ValueError("sunset must not come before since (RFC 9745 §4)")

    def add_headers(response: Response) -> Response:
        present = list(response.headers)  # if a decorator runs the view again, or the view calls a deprecated one
        response.headers.extend(header for header in deprecation.headers if header not in present)
        return response

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def deprecated_view(*args: Any, **kwargs: Any) -> Response:
            try:
                response = current_app.make_response(call(*args, **kwargs))
            except Exception:  # decorators around this one must see it, such as one that rolls a transaction back
                after_this_request(add_headers)
                raise
            return add_headers(response)

        setattr(deprecated_view, DEPRECATED_ATTRIBUTE, deprecation)
        return deprecated_view

    return decorate


def _to_url(link: str) -> str:
    """Return a URL, or a relative reference, as ASCII text that a header field can have (RFC 3987 §3.1).

    :raises ValueError: if it contains a character that a URL cannot have, or is empty.
    """
    if not isinstance(link, str) or not link or any(character in '<>"\x7f' or character <= " " for character in link):
        raise ValueError(f"link {link!r} is not a URL: write it like 'https://api.example.com/v2'")
    return iri_to_uri(link)


def _to_timestamp(moment: DateLike) -> float:
    """Return a date or time in seconds since 1970; UTC if it has no time zone.

    :raises ValueError: if ``moment`` is text that is not an ISO 8601 date or time.
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as cause:
            raise ValueError(f"{moment!r} is not a date: write it like '2026-01-31'") from cause
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)
