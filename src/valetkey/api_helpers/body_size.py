"""How much a caller may send: refused before it is read (RFC 9110 §15.5.14)."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import Any

from flask import Flask, current_app, request

from valetkey.protocol.size import read_size
from valetkey.web.problem_responses import Problem, is_below
from valetkey.web.wsgi import Environ

from .context import View, synchronous

MAX_BODY = "__valetkey_max_body__"  # the attribute of a view that holds the most bytes it takes


def max_body(size: str | int) -> Any:
    """The largest body that a view takes, as ``64 KiB`` or in bytes; it counts instead of the prefix's.

    :raises ValueError: where the size cannot be read.
    """
    most = read_size(size)

    def decorate(view: View) -> View:
        call = synchronous(view)

        @functools.wraps(view)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            check_body(most)
            return call(*args, **kwargs)

        setattr(bounded, MAX_BODY, most)
        return bounded

    return decorate


def limit_bodies(app: Flask, prefix: str, size: str | int) -> None:
    """The largest body below a prefix, for all views that do not say another."""
    most = read_size(size)

    def check() -> None:
        if _has_body(request.environ) and is_below(prefix):
            view = current_app.view_functions.get(request.endpoint or "")
            check_body(getattr(view, MAX_BODY, most))

    app.before_request(check)


def _has_body(environ: Environ) -> bool:
    """Whether there may be a body (RFC 9112 §6.3; HTTP/2 needs neither header): most calls bring none."""
    told = environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING")
    return bool(told) or not environ["SERVER_PROTOCOL"].startswith("HTTP/1")


def check_body(most: int) -> None:
    """Refuse a body that is too large, also one that does not say how large it is, as it is read.

    :raises Problem: 413 where it says so itself; else whoever reads it meets the same refusal.
    """
    length = request.content_length
    if length is None:
        request.environ["wsgi.input"] = _Bounded(request.environ["wsgi.input"], most)
    elif length > most:
        raise _too_large(most)
    with contextlib.suppress(AttributeError):  # Flask 3.0: only the app's own MAX_CONTENT_LENGTH counts
        request.max_content_length = most + 1  # at its own bound Werkzeug ends a body as if it were whole


class _Bounded(io.RawIOBase):
    """A body of unknown length; it cannot be read further than it may be long."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most, self._left = stream, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._most)
        buffer[: len(data)] = data
        return len(data)


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body may have {most} bytes at the most", maximum=most)
