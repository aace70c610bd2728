"""Conditional requests (RFC 9110 §13): 304 for unchanged responses, 412 for a change that would be a lost update."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

from flask import Response, current_app, request
from werkzeug.http import unquote_etag

from valetkey.protocol.etag import etag_of
from valetkey.web.async_views import ensure_sync
from valetkey.web.problem_responses import Problem

from .context import View

ETAGGED_ATTRIBUTE = "__valetkey_etagged__"  # the attribute of a view whose responses have an ETag


def etagged(view: View | None = None, /, *, weak: bool = False) -> Any:
    """Decorate a view so that its 200 responses to GET and HEAD have an ETag, and conditional requests get 304.

    A request gets 304 if ``If-None-Match`` or ``If-Modified-Since`` shows that the client has the current response
    (RFC 9110 §13.1.2, §13.1.3), and 412 if ``If-Match`` does not match (§13.1.1). The view still runs. If the view
    sets no ``ETag``, it is computed from the content; streamed responses get none.

    :param weak: compute weak ETags (see ``etag_of``).
    """
    if view is None:
        return lambda view: etagged(view, weak=weak)
    call = ensure_sync(view)

    @functools.wraps(view)
    def conditional_view(*args: Any, **kwargs: Any) -> Response:
        response = current_app.make_response(call(*args, **kwargs))
        if request.method not in {"GET", "HEAD"} or response.status_code != 200:
            return response
        if "ETag" not in response.headers and not response.is_streamed and not response.direct_passthrough:
            response.headers["ETag"] = etag_of(response.get_data(), weak=weak)
        etag = response.headers.get("ETag")
        if "If-Match" in request.headers and not _satisfies_if_match(etag):
            raise _precondition_failed(etag)
        # If-Match is checked above and hidden from Werkzeug, for which `If-Match: *` never matches.
        response.make_conditional({**request.environ, "HTTP_IF_MATCH": ""})
        return response

    setattr(conditional_view, ETAGGED_ATTRIBUTE, True)
    return conditional_view


def check_preconditions(etag: str | None, *, last_modified: datetime | None = None, required: bool = False) -> None:
    """Check the preconditions of the current PUT, PATCH or DELETE request, to prevent lost updates.

    Call it before you change anything. It evaluates ``If-Match``, ``If-Unmodified-Since`` and ``If-None-Match`` in the
    order of RFC 9110 §13.2.2.

    :param etag: the ETag of the resource's current state, as ``etag_of`` returns it; None if it does not exist yet.
    :param last_modified: when the resource was last modified; without it, ``If-Unmodified-Since`` is ignored. A
        ``datetime`` without a time zone is UTC.
    :param required: whether to refuse a request that has no precondition.
    :raises Problem: 412 if a precondition fails; 428 if ``required`` is true and the request has no precondition
        (RFC 6585 §3).
    """
    since = request.if_unmodified_since  # None if the header is not a valid date: then it is ignored (§13.1.4)
    is_conditional = "If-Match" in request.headers or (since is not None and last_modified is not None)
    if "If-Match" in request.headers:
        if not _satisfies_if_match(etag):
            raise _precondition_failed(etag)
    elif since is not None and last_modified is not None and _whole_seconds(last_modified) > since:
        raise _precondition_failed(etag)
    if_none_match = request.if_none_match
    if etag is not None and (if_none_match.star_tag or if_none_match.contains_weak(unquote_etag(etag)[0] or "")):
        raise _precondition_failed(etag)
    # If-None-Match with tags does not make a change conditional: it does not name the state to be changed.
    if required and not is_conditional and not if_none_match.star_tag:
        raise Problem(428, 'a precondition is required: send the ETag that you read, as If-Match: "..."')


def _satisfies_if_match(etag: str | None) -> bool:
    """Return whether the ``If-Match`` header of the current request matches the ETag of the resource.

    ``*`` matches any existing resource; a weak ETag never matches (RFC 9110 §13.1.1).

    :param etag: the current ETag, or None if the resource does not exist.
    """
    if etag is None:
        return False
    tag, is_weak = unquote_etag(etag)
    if_match = request.if_match
    return if_match.star_tag or (not is_weak and tag is not None and if_match.is_strong(tag))


def _whole_seconds(moment: datetime) -> datetime:
    """Return a time rounded down to whole seconds, the precision of the Last-Modified header (RFC 9110 §8.8.2).

    A time without a time zone is taken as UTC.
    """
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).replace(microsecond=0)


def _precondition_failed(etag: str | None) -> Problem:
    headers = [("ETag", etag)] if etag else []
    return Problem(412, "the resource is not in the state that the request requires; read it again", headers)
