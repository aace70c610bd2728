"""Routes that will go: ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and where to read about it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from flask import Response, current_app
from werkzeug.http import http_date

from .context import View, ensure_sync

DEPRECATED_ATTRIBUTE = "__valetkey_deprecated__"  # the attribute of a view that holds a Deprecated
DateLike = str | date | datetime | float


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Since when a route is deprecated and when it ends, in seconds since 1970."""

    since: float
    sunset: float | None
    link: str | None

    @property
    def headers(self) -> list[tuple[str, str]]:
        told = [("Deprecation", f"@{int(self.since)}")]  # RFC 9745 §2.1: a structured-field date
        if self.sunset is not None:
            told.append(("Sunset", http_date(self.sunset)))  # RFC 8594 §3
        for relation in ("deprecation", "sunset") if self.sunset is not None else ("deprecation",):
            if self.link is not None:
                told.append(("Link", f'<{self.link}>; rel="{relation}"; type="text/html"'))
        return told


def deprecated(*, since: DateLike, sunset: DateLike | None = None, link: str | None = None) -> Any:
    """Tell with each answer of a view that it is deprecated.

    :param since: from when on: an ISO date or time, a ``date``, a ``datetime`` (UTC where it has no zone), or seconds
        since 1970. It may be in the future.
    :param sunset: when the route will stop answering.
    :param link: the page that says what to do instead.
    :raises ValueError: where a moment cannot be read, or the end comes before the deprecation (RFC 9745 §4).
    """
    told = Deprecation(_to_timestamp(since), None if sunset is None else _to_timestamp(sunset), link)
    if told.sunset is not None and told.sunset < told.since:
        raise ValueError("sunset must not come before since (RFC 9745 §4)")
    if link is not None and any(sign in link for sign in '<>"\r\n '):
        raise ValueError(f"link {link!r} is no URL")

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def announced(*args: Any, **kwargs: Any) -> Response:
            response = current_app.make_response(call(*args, **kwargs))
            for name, value in told.headers:
                response.headers.add(name, value)
            return response

        setattr(announced, DEPRECATED_ATTRIBUTE, told)
        return announced

    return decorate


def _to_timestamp(moment: DateLike) -> float:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as cause:
            raise ValueError(f"{moment!r} is no date: write it like '2026-01-31'") from cause
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)
