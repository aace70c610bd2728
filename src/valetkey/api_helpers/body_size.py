"""How much a caller may send: refused before it is read (RFC 9110 §15.5.14)."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import Any

from flask import Flask, current_app, request

from valetkey.protocol.size import parse_size
from valetkey.web.problem_responses import Problem, request_is_below
from valetkey.web.wsgi import Environ

from .context import View, ensure_sync

MAX_BODY_ATTRIBUTE = "__valetkey_max_body__"  # the attribute of a view that holds the most bytes it takes


def max_body(size: str | int) -> Any:
    """The largest body that a view takes, as ``64 KiB`` or in bytes; it counts instead of the prefix's.

    :raises ValueError: where the size cannot be read.
    """
    most = parse_size(size)

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            check_body_size(most)
            return call(*args, **kwargs)

        setattr(bounded, MAX_BODY_ATTRIBUTE, most)
        return bounded

    return decorate


def limit_bodies(app: Flask, prefix: str, size: str | int) -> None:
    """The largest body below a prefix, for all views that do not say another."""
    most = parse_size(size)

    def check() -> None:
        if _may_have_body(request.environ) and request_is_below(prefix):
            view = current_app.view_functions.get(request.endpoint or "")
            check_body_size(getattr(view, MAX_BODY_ATTRIBUTE, most))

    app.before_request(check)


def _may_have_body(environ: Environ) -> bool:
    """Whether there may be a body (RFC 9112 §6.3; HTTP/2 needs neither header): most calls bring none."""
    told = environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING")
    return bool(told) or not environ["SERVER_PROTOCOL"].startswith("HTTP/1")


def check_body_size(max_bytes: int) -> None:
    """Refuse a body that is too large, also one that does not say how large it is, as it is read.

    :raises Problem: 413 where it says so itself; else whoever reads it meets the same refusal.
    """
    length = request.content_length
    if length is None:
        request.environ["wsgi.input"] = _SizeLimitedStream(request.environ["wsgi.input"], max_bytes)
    elif length > max_bytes:
        raise _body_too_large(max_bytes)
    with contextlib.suppress(AttributeError):  # Flask 3.0: only the app's own MAX_CONTENT_LENGTH counts
        request.max_content_length = max_bytes + 1  # at its own bound Werkzeug ends a body as if it were whole


class _SizeLimitedStream(io.RawIOBase):
    """A body of unknown length; it cannot be read further than it may be long."""

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
    return Problem(413, f"the body may have {max_bytes} bytes at the most", maximum=max_bytes)
