"""Limit the size of request bodies: a larger body gets 413 before it is read (RFC 9110 §15.5.14)."""

from __future__ import annotations

import functools
import io
from typing import Any

from flask import Flask, current_app, request

from valetkey.protocol.size import parse_size
from valetkey.web.async_views import ensure_sync
from valetkey.web.class_views import get_view_attribute
from valetkey.web.decorator_calls import requires_parentheses
from valetkey.web.problem_responses import Problem, request_is_below
from valetkey.web.wsgi import Environ

from .context import View

MAX_BODY_ATTRIBUTE = "__valetkey_max_body__"  # the attribute of a view that holds its largest body, in bytes


@requires_parentheses('"64 KiB"')
def max_body(size: str | int) -> Any:
    """Return a decorator that limits the request body of a view; a larger body gets 413.

    The limit replaces that of ``limit_bodies`` and of the setting ``max_body`` for this view, and may be larger.

    :param size: a number of bytes, or text such as ``64 KiB`` or ``5 MB``.
    :raises TypeError: if it is written without parentheses.
    :raises ValueError: if the size cannot be parsed.
    """
    max_bytes = parse_size(size)

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def limited_view(*args: Any, **kwargs: Any) -> Any:
            check_body_size(max_bytes)
            return call(*args, **kwargs)

        setattr(limited_view, MAX_BODY_ATTRIBUTE, max_bytes)
        return limited_view

    return decorate


def limit_bodies(app: Flask, prefix: str, size: str | int) -> None:
    """Limit the request bodies of all views below a prefix; a larger body gets 413.

    ``max_body`` on a view overrides the limit. In an app with ``Valetkey``, the setting ``max_body`` does this for the
    whole API.

    :param prefix: path prefix, such as ``/api``; an empty prefix means the whole app.
    :param size: a number of bytes, or text such as ``64 KiB`` or ``5 MB``.
    :raises ValueError: if the size cannot be parsed.
    """
    default_max_bytes = parse_size(size)

    def check() -> None:
        if _may_have_body(request.environ) and request_is_below(prefix):
            view_max_bytes = _find_view_limit()
            check_body_size(default_max_bytes if view_max_bytes is None else view_max_bytes)

    app.before_request(check)


def _may_have_body(environ: Environ) -> bool:
    """Return whether a request may have a body.

    An HTTP/1 request has one only with ``Content-Length`` or ``Transfer-Encoding`` (RFC 9112 §6.3); HTTP/2 needs
    neither header.
    """
    announced = environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING")
    return bool(announced) or not environ["SERVER_PROTOCOL"].startswith("HTTP/1")


def check_body_size(max_bytes: int) -> None:
    """Refuse the current request if its body is larger than ``max_bytes``, which replaces Flask's own limit.

    A body without ``Content-Length`` is checked while it is read: reading past the limit raises the same ``Problem``.

    :raises Problem: 413 if ``Content-Length`` is larger than ``max_bytes``.
    """
    length = request.content_length
    if length is None:
        request.environ["wsgi.input"] = _SizeLimitedStream(request.environ["wsgi.input"], max_bytes)
    elif length > max_bytes:
        raise _body_too_large(max_bytes)
    # One more than the limit: at its own limit Werkzeug truncates a body of unknown length without an error.
    request.max_content_length = max_bytes + 1


def lower_body_limit(max_bytes: int) -> None:
    """Refuse the current request if its body is larger than ``max_bytes``, or than the limit that its view has anyway.

    :raises Problem: 413, as for ``check_body_size``.
    """
    view_max_bytes = _find_view_limit()
    limit = request.max_content_length if view_max_bytes is None else view_max_bytes
    check_body_size(max_bytes if limit is None else min(max_bytes, limit))


def _find_view_limit() -> int | None:
    """Return the limit that ``max_body`` sets for the view of the current request, or None if it sets none."""
    view = current_app.view_functions.get(request.endpoint or "")
    max_bytes: int | None = get_view_attribute(view, request.method, MAX_BODY_ATTRIBUTE)
    return max_bytes


class _SizeLimitedStream(io.RawIOBase):
    """Stream of a request body without ``Content-Length``; reading more than ``max_bytes`` raises ``Problem`` 413."""

    def __init__(self, stream: Any, max_bytes: int) -> None:
        self._stream, self._max_bytes, self._remaining_bytes = stream, max_bytes, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._remaining_bytes + 1))
        self._remaining_bytes -= len(data)
        if self._remaining_bytes < 0:
            raise _body_too_large(self._max_bytes)
        buffer[: len(data)] = data
        return len(data)


def _body_too_large(max_bytes: int) -> Problem:
    return Problem(413, f"the body is too large: send at most {max_bytes} bytes", maximum=max_bytes)
