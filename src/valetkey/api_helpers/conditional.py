"""Conditional requests (RFC 9110 §13): ETag and 304 for readers, If-Match and 412 against lost updates."""

from __future__ import annotations

import functools
import hashlib
from datetime import UTC, datetime
from typing import Any

from flask import Response, current_app, request
from werkzeug.http import unquote_etag

from valetkey.web.problem_responses import Problem

from .context import View, ensure_sync

ETAGGED_ATTRIBUTE = "__valetkey_etagged__"  # the attribute of a view whose answers have an ETag


def etag_of(version: object, *, weak: bool = False) -> str:
    """A version number, time or content as the value of an ETag header (RFC 9110 §8.8.3).

    :param weak: the same meaning, not the same bytes; useless for ``If-Match``.
    """
    text = version if isinstance(version, bytes) else str(version).encode()
    return f'{"W/" if weak else ""}"{hashlib.sha256(text).hexdigest()[:32]}"'


def etagged(view: View | None = None, /, *, weak: bool = False) -> Any:
    """Give a view's answers to GET an ETag, and answer 304 to whom has them already (RFC 9110 §13.1.2).

    An ``ETag`` or ``Last-Modified`` that the view sets counts; else the ETag is made from the content.
    """
    if view is None:
        return lambda view: etagged(view, weak=weak)
    call = ensure_sync(view)

    @functools.wraps(view)
    def conditional(*args: Any, **kwargs: Any) -> Response:
        response = current_app.make_response(call(*args, **kwargs))
        if request.method not in {"GET", "HEAD"} or response.status_code != 200:
            return response
        if "ETag" not in response.headers and not response.is_streamed and not response.direct_passthrough:
            response.headers["ETag"] = etag_of(response.get_data(), weak=weak)
        etag = response.headers.get("ETag")
        if "If-Match" in request.headers and not _satisfies_if_match(etag):
            raise _precondition_failed(etag)
        response.make_conditional({**request.environ, "HTTP_IF_MATCH": ""})  # for Werkzeug * matches nothing
        return response

    setattr(conditional, ETAGGED_ATTRIBUTE, True)
    return conditional


def check_preconditions(etag: str | None, *, last_modified: datetime | None = None, required: bool = False) -> None:
    """See that a change is meant for the state that there is, in the order of RFC 9110 §13.2.2.

    :param etag: of the state that there is, as ``etag_of`` makes it; None where there is nothing yet.
    :param last_modified: when that state was made; then ``If-Unmodified-Since`` counts too.
    :param required: whether a change without a condition is refused.
    :raises Problem: 412 where the state is another one, 428 where a condition is missing (RFC 6585 §3).
    """
    since = request.if_unmodified_since  # None where it is no date: then it does not count (§13.1.4)
    told = "If-Match" in request.headers or (since is not None and last_modified is not None)
    if "If-Match" in request.headers:
        if not _satisfies_if_match(etag):
            raise _precondition_failed(etag)
    elif since is not None and last_modified is not None and _whole_seconds(last_modified) > since:
        raise _precondition_failed(etag)
    others = request.if_none_match
    if etag is not None and (others.star_tag or others.contains_weak(unquote_etag(etag)[0] or "")):
        raise _precondition_failed(etag)
    if required and not told and not others.star_tag:  # another tag says which state it is not meant for
        raise Problem(428, 'send If-Match with the ETag that you read, as If-Match: "..."')


def _satisfies_if_match(etag: str | None) -> bool:
    """RFC 9110 §13.1.1: ``*`` matches whatever there is, and a weak tag matches nothing."""
    if etag is None:
        return False
    tag, is_weak = unquote_etag(etag)
    asked = request.if_match
    return asked.star_tag or (not is_weak and tag is not None and asked.is_strong(tag))


def _whole_seconds(moment: datetime) -> datetime:
    """As the Last-Modified header tells it (RFC 9110 §8.8.2)."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).replace(microsecond=0)


def _precondition_failed(etag: str | None) -> Problem:
    told = [("ETag", etag)] if etag else []
    return Problem(412, "it is not in the state that you read any more; read it again", told)
