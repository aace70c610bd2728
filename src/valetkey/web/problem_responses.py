"""Problem details (RFC 9457) and refusals as JSON (RFC 6749 §5.2), each with the request's reference."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response as AnyResponse

from valetkey.protocol.errors import PROBLEM_CONTENT_TYPE, problem_body

from .context import current_route
from .request_id import request_id

_log = logging.getLogger("valetkey")


def problem(status: int, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any) -> Response:
    """An answer with problem details and the request's reference."""
    body = problem_body(status, detail, reference=request_id(), **members)
    return Response(body, status, list(headers), content_type=PROBLEM_CONTENT_TYPE)


class Problem(HTTPException):
    """A refusal to raise in a view; a host's own error handler for its status comes first, as for ``abort``.

    :param detail: a sentence for the caller (RFC 9457 §3.1.4).
    :param members: further members of the problem, by name.
    """

    def __new__(cls, status: int, *_: Any, **__: Any) -> Problem:
        return super().__new__(_problem_class(status))

    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any) -> None:
        HTTPException.__init__(self, detail)
        self.code = status
        self._headers = tuple(headers)
        self._members = members

    def get_response(self, *_: Any, **__: Any) -> AnyResponse:
        return problem(self.code or 500, str(self.description), self._headers, **self._members)


def json_refusal(status: int, error: str, error_description: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A refusal in the form of RFC 6749 §5.2, with the request's reference."""
    body = json.dumps({"error": error, "error_description": error_description})
    told = {"Cache-Control": "no-store", "Valetkey-Reference": request_id()}
    response = Response(body, status, told, mimetype="application/json")
    response.headers.extend(list(headers))
    return response


@functools.cache
def _problem_class(status: int) -> type[Problem]:
    """A problem that is Werkzeug's exception for the status, too: Flask finds error handlers by class."""
    known = default_exceptions.get(status)
    return Problem if known is None else type(f"Problem{status}", (Problem, known), {})


def use_problems(app: Flask, prefix: str) -> None:
    """Answer with problem details what nobody handled below a prefix; what the host's error handlers answer stays.

    An error that nobody handled is what Flask hands to ``make_response`` itself: there is the one place to see it.
    """
    original = app.make_response

    def make_response(rv: Any) -> Response:
        if isinstance(rv, HTTPException) and is_unrendered_error(rv) and request_is_below(prefix):
            return original(problem_from_error(rv))
        return original(rv)

    app.make_response = make_response  # type: ignore[method-assign]


def is_unrendered_error(error: HTTPException) -> bool:
    """Whether an error is a refusal or failure that brings no answer of its own along."""
    return error.code is not None and error.code >= 400 and error.response is None and not isinstance(error, Problem)


def problem_from_error(error: HTTPException) -> Response:
    """An error as problem details (RFC 9457); its own headers (Allow, Retry-After, WWW-Authenticate) stay."""
    status = error.code or 500
    log_error(error, status)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    if isinstance(error.description, str):
        return problem(status, describe_error(error, status), headers)
    return problem(status, HTTPStatus(status).phrase, headers, errors=error.description)


def describe_error(error: HTTPException, status: int) -> str:
    """What the error says; where that is Werkzeug's own advice for browsers, the words for programs."""
    if error.description and error.description != type(error).description:
        return error.description
    told = {
        400: "the request is malformed: its JSON, a parameter or a header cannot be read",
        404: "there is nothing at this path",
        405: "this method is not allowed here; the Allow header names those that are",
        500: "the server failed; whoever runs it finds the reference in the log",
    }
    return told.get(status) or error.description or HTTPStatus(status).phrase


def request_is_below(prefix: str) -> bool:
    """Whether this request is for a path below the prefix."""
    return request.path == prefix or request.path.startswith(f"{prefix}/")


def log_error(error: HTTPException, status: int) -> None:
    """One line for the operator, with the reference that the caller sees."""
    level = logging.ERROR if status >= 500 else logging.INFO
    cause = type(getattr(error, "original_exception", None) or error).__name__
    _log.log(level, "answered %d at %s: %s [%s]", status, current_route(), cause, request_id())
