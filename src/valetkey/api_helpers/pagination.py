"""Paginate SQLAlchemy selects, with signed cursors, ``Link`` headers (RFC 8288) and limited page sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from flask import request

from valetkey.web.problem_responses import Problem

from .context import current_time, find_runtime
from .cursors import open_cursor, seal_cursor

if TYPE_CHECKING:
    from sqlalchemy import Select

_DAY_S = 86400.0
CURSOR_PARAMETER, LIMIT_PARAMETER = "cursor", "limit"  # the query parameters that paginate reads


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, as ``paginate`` returns it.

    ``items`` are the selected entities or values, or dicts by column name if several columns are selected; an alias
    without a name has that of its class, such as ``Note`` and then ``Note_1``. ``next`` and ``prev`` are the cursors of
    the next and previous page, or None if there is none. ``headers`` has the ``Link`` header (RFC 8288); add it to the
    response.
    """

    items: list[Any]
    next: str | None
    prev: str | None
    headers: list[tuple[str, str]]


def paginate(
    select: Select[Any],
    execute: Callable[[Select[Any]], Any],
    *,
    usual: int = 20,
    largest: int = 100,
    lifetime: float = _DAY_S,
    key: bytes | None = None,
) -> Page:
    """Return the page of a select that the query parameters ``cursor`` and ``limit`` of the current request choose.

    Uses keyset pagination: rows that are added or deleted between two requests do not shift the other rows. A cursor
    is valid only for the path, query parameters (except ``limit``) and order that it was made with.

    :param select: a SQLAlchemy select without limit and offset. Its ``order_by`` must end with a unique column, such as
        the primary key, of each table that has several rows for a row of the others, unless ``where`` or the join
        equates that column with a value. Its columns must never be NULL.
    :param execute: ``session.execute`` or ``connection.execute``.
    :param usual: page size if the request has no ``limit``.
    :param largest: largest page size that a request may choose.
    :param lifetime: seconds until a cursor expires. Default: one day.
    :param key: secret that signs the cursors. Default: the setting ``encryption_keys`` of the app's ``Valetkey``.
    :raises Problem: 400 if the cursor was changed, has expired or is for another query, or if ``limit`` is not between
        1 and ``largest``.
    :raises ValueError: if the select cannot be paged this way, or ``usual`` is not between 1 and ``largest``. The
        message says what to change.
    :raises RuntimeError: if there is neither ``key`` nor a ``Valetkey`` in the app.
    """
    from .keyset import items_and_places, read_order

    ordered, size, now = read_order(select), _read_page_size(usual, largest), current_time()
    query = _query_digest(ordered.order_text)
    cursor = request.args.get(CURSOR_PARAMETER)
    direction, *place = open_cursor(cursor, query, now=now, key=key) if cursor else ["next"]
    backwards = direction == "prev"
    rows = execute(ordered.select_after(place, size + 1, backwards=backwards)).all()
    has_more, rows = len(rows) > size, rows[:size]
    items, places = items_and_places(ordered, rows[::-1] if backwards else rows)

    def make_cursor(direction: str, place: tuple[Any, ...]) -> str:
        return seal_cursor([direction, *place], query, now=now, lifetime=lifetime, key=key)

    has_next = bool(places) and (has_more or backwards)
    has_previous = bool(places) and (has_more if backwards else cursor is not None)
    next_cursor = make_cursor("next", places[-1]) if has_next else None
    previous_cursor = make_cursor("prev", places[0]) if has_previous else None
    return Page(items, next_cursor, previous_cursor, [("Link", _link_header(next_cursor, previous_cursor))])


def _read_page_size(default_size: int, max_size: int) -> int:
    """Return the page size from the current request's query parameter ``limit``, or the default if it has none.

    :raises Problem: 400 if ``limit`` is not a number between 1 and ``max_size``.
    :raises ValueError: if the default is not between 1 and ``max_size``.
    """
    if not 1 <= default_size <= max_size:
        raise ValueError(f"usual={default_size!r} must be a number between 1 and largest={max_size!r}")
    text = request.args.get(LIMIT_PARAMETER)
    if text is None:
        return default_size
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= max_size):
        raise Problem(400, f"{LIMIT_PARAMETER} must be a number between 1 and {max_size}", maximum=max_size)
    return int(text)


def _query_digest(order: str) -> str:
    """Return the SHA-256 digest, in hex, of the query for which a cursor is valid.

    The query is the path, the query parameters except ``cursor`` and ``limit``, and the order.

    :param order: the ``order_by`` of the select, as text.
    """
    filters = sorted(
        (name, value)
        for name, value in request.args.items(multi=True)
        if name not in {CURSOR_PARAMETER, LIMIT_PARAMETER}
    )
    return hashlib.sha256(f"{request.path}\0{urlencode(filters)}\0{order}".encode()).hexdigest()


def _link_header(next_cursor: str | None, previous_cursor: str | None) -> str:
    """Return the value of the ``Link`` header (RFC 8288): URLs of the first and, if any, next and previous page."""
    cursors = {"next": next_cursor, "prev": previous_cursor}
    links = [f'<{_page_url(cursor)}>; rel="{relation}"' for relation, cursor in cursors.items() if cursor]
    return ", ".join([*links, f'<{_page_url(None)}>; rel="first"'])


def _page_url(cursor: str | None) -> str:
    """Return the URL of the current request with another pagination cursor, or without a cursor if it is None.

    The URL is absolute if the ``Host`` header is the issuer's host, and relative to the host otherwise: callers choose
    the ``Host`` header, so it must not get into a URL that others may follow.
    """
    others = [(name, value) for name, value in request.args.items(multi=True) if name != CURSOR_PARAMETER]
    parameters = urlencode([*others, *([(CURSOR_PARAMETER, cursor)] if cursor else [])])
    path = f"{request.script_root}{request.path}"
    runtime = find_runtime()
    issuer = urlsplit(runtime.settings.issuer) if runtime is not None else None
    origin = f"{issuer.scheme}://{issuer.netloc}" if issuer and request.host == issuer.netloc else ""
    return f"{origin}{quote(path)}" + (f"?{parameters}" if parameters else "")
