"""Pages of a list: signed cursors, ``Link`` to the next, previous and first page (RFC 8288), bounds on their size."""

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
CURSOR_PARAMETER, LIMIT_PARAMETER = "cursor", "limit"  # the parameters that are ours


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what is on it, and the cursors of its neighbours (None where there is none)."""

    items: list[Any]
    next: str | None
    prev: str | None
    headers: list[tuple[str, str]]  # Link


def paginate(
    select: Select[Any],
    execute: Callable[[Select[Any]], Any],
    *,
    usual: int = 20,
    largest: int = 100,
    lifetime: float = _DAY_S,
    key: bytes | None = None,
) -> Page:
    """The page that ``?cursor=`` and ``?limit=`` ask for; stable while rows are added and removed.

    A cursor is good for the query that it was made in: the same path, other parameters, and order.

    :param select: of SQLAlchemy, with an ``order_by`` that ends in something unique and is never NULL.
    :param execute: ``session.execute`` or ``connection.execute``.
    :param usual: how many rows a page has where the caller does not say.
    :param largest: how many it has at the most.
    :param lifetime: seconds for which a cursor is good.
    :param key: signs the cursors; where left out, ``encryption_keys`` of the app's Valetkey do.
    :raises Problem: 400 on a cursor of another query, a changed or an old one, and on a size out of bounds.
    :raises ValueError: where the select cannot be continued; the sentence says what to change.
    """
    from .keyset import items_and_places, read_order

    ordered, size, now = read_order(select), _read_page_size(usual, largest), current_time()
    query = _query_digest(ordered.order_text)
    asked = request.args.get(CURSOR_PARAMETER)
    way, *place = open_cursor(asked, query, now=now, key=key) if asked else ["next"]
    backwards = way == "prev"
    rows = execute(ordered.select_after(place, size + 1, backwards=backwards)).all()
    has_more, rows = len(rows) > size, rows[:size]
    items, places = items_and_places(ordered, rows[::-1] if backwards else rows)

    def cursor(way: str, place: tuple[Any, ...]) -> str:
        return seal_cursor([way, *place], query, now=now, lifetime=lifetime, key=key)

    goes_on = bool(places) and (has_more or backwards)
    came_from = bool(places) and (has_more if backwards else asked is not None)
    following = cursor("next", places[-1]) if goes_on else None
    preceding = cursor("prev", places[0]) if came_from else None
    return Page(items, following, preceding, [("Link", _link_header(following, preceding))])


def _read_page_size(default_size: int, max_size: int) -> int:
    text = request.args.get(LIMIT_PARAMETER)
    if text is None:
        return default_size
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= max_size):
        raise Problem(400, f"{LIMIT_PARAMETER} must be a number between 1 and {max_size}", maximum=max_size)
    return int(text)


def _query_digest(order: str) -> str:
    """What a cursor is bound to: path, parameters without the page's own, order."""
    others = sorted(
        (name, value)
        for name, value in request.args.items(multi=True)
        if name not in {CURSOR_PARAMETER, LIMIT_PARAMETER}
    )
    return hashlib.sha256(f"{request.path}\0{urlencode(others)}\0{order}".encode()).hexdigest()


def _link_header(next_cursor: str | None, previous_cursor: str | None) -> str:
    told = {"next": next_cursor, "prev": previous_cursor}
    links = [f'<{_page_url(cursor)}>; rel="{relation}"' for relation, cursor in told.items() if cursor]
    return ", ".join([*links, f'<{_page_url(None)}>; rel="first"'])


def _page_url(cursor: str | None) -> str:
    """This request's address at another cursor: whole where the host is the issuer's, else without the host.

    The Host header is the caller's to write: it makes no address that others may be sent to.
    """
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != CURSOR_PARAMETER]
    parameters = urlencode([*kept, *([(CURSOR_PARAMETER, cursor)] if cursor else [])])
    path = f"{request.script_root}{request.path}"
    runtime = find_runtime()
    issuer = urlsplit(runtime.settings.issuer) if runtime is not None else None
    origin = f"{issuer.scheme}://{issuer.netloc}" if issuer and request.host == issuer.netloc else ""
    return f"{origin}{quote(path)}" + (f"?{parameters}" if parameters else "")
