"""JSON error responses: problem details (RFC 9457) for APIs, and OAuth errors (RFC 6749 §5.2)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from functools import partial
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response as AnyResponse

from valetkey.activity.refusal_log import is_logged, log_error_response, log_refusal
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.refusal import (
    PROBLEM_CONTENT_TYPE,
    SERVER_FAILED,
    Header,
    Refusal,
    build_refusal,
    status_phrase,
)
from valetkey.protocol.unavailable import BackendUnavailable

from .request_id import request_id
from .request_log import current_request_info
from .wsgi import is_below

_RENDERING_METHODS = ("get_response", "get_body", "get_description")  # of an HTTPException


def problem(status: int, detail: str, headers: Iterable[tuple[str, str]] = (), **members: Any) -> Response:
    """Return a response with problem details (RFC 9457).

    Its body has ``title``, ``status``, ``detail`` and ``reference``: the request ID, which is also in the log.

    :param status: HTTP status code.
    :param detail: explanation of this error for the caller (RFC 9457 §3.1.4).
    :param headers: additional response headers.
    :param members: additional members of the body (RFC 9457 §3.2), by name.
    """
    return render_problem(Refusal(status, "", detail, request_id(), tuple(headers)), **members)


def refuse(cause: OAuthError | BackendUnavailable, *headers: Header) -> Refusal:
    """Log that the current request is refused, and return the refusal, to be rendered as JSON, problem or page.

    :param headers: further header fields, such as ``WWW-Authenticate``.
    """
    if is_logged(cause):
        log_refusal(cause, current_request_info())
    return build_refusal(cause, request_id(), headers)


def refuse_http_error(error: HTTPException) -> Refusal:
    """Log an HTTP error, and return it as a refusal with the error's headers, such as ``Allow``."""
    status = error.code or 500
    cause = type(getattr(error, "original_exception", None) or error).__name__
    request_info = current_request_info()
    log_error_response(status, cause, request_info)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    code = "server_error" if status >= 500 else "invalid_request"
    return Refusal(status, code, _describe_error(error, status), request_info.reference, tuple(headers))


def refuse_misdirected_request(reason: str) -> Refusal:
    """Log that the current request was sent to a host that is not served, and return the refusal (RFC 9110 §15.5.20).

    :param reason: why the host is not served.
    """
    request_info = current_request_info()
    log_error_response(421, reason, request_info)
    return Refusal(421, "invalid_request", reason, request_info.reference)


def render_problem(refusal: Refusal, **members: Any) -> Response:
    """Return the response with problem details (RFC 9457).

    :param members: additional members of the body (RFC 9457 §3.2), by name.
    """
    headers = list(refusal.headers)
    return Response(refusal.problem_body(**members), refusal.status, headers, content_type=PROBLEM_CONTENT_TYPE)


def render_json(refusal: Refusal) -> Response:
    """Return the response with OAuth JSON (RFC 6749 §5.2)."""
    return Response(refusal.oauth_body(), refusal.status, list(refusal.oauth_headers()))


class Problem(HTTPException):
    """Exception that ends a view with a problem details response (RFC 9457), as ``flask.abort`` does with a page.

    If the app has an error handler for the status, the handler is called, as for ``abort``::

        raise Problem(409, "the concert is sold out", left=0)

    :param status: HTTP status code.
    :param detail: explanation of this error for the caller (RFC 9457 §3.1.4).
    :param headers: additional response headers.
    :param members: additional members of the body (RFC 9457 §3.2), by name.
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


@functools.cache
def _problem_class(status: int) -> type[Problem]:
    """Return a subclass of both ``Problem`` and Werkzeug's exception for an HTTP status, such as ``NotFound`` for 404.

    Flask finds the app's error handlers by exception class. If Werkzeug has no exception for the status, return
    ``Problem``.
    """
    http_exception = default_exceptions.get(status)
    return Problem if http_exception is None else type(f"Problem{status}", (Problem, http_exception), {})


def use_problems(app: Flask, prefix: str) -> None:
    """Return unhandled errors below a path prefix as problem details (RFC 9457), instead of Flask's HTML pages.

    This includes 404, 405 and 500, and every ``abort``. Errors that the app's own error handlers handle are not
    changed.

    :param app: the app; call this once for each prefix.
    :param prefix: path of the API, such as ``/api``.
    """
    # Flask passes an unhandled error itself to ``make_response``, so this is the place to recognize it.
    original = app.make_response

    @functools.wraps(original)
    def make_response(rv: Any) -> Response:
        if isinstance(rv, HTTPException) and is_unrendered_error(rv) and request_is_below(prefix):
            return original(problem_from_error(rv))
        return original(rv)

    app.make_response = make_response  # type: ignore[method-assign]  # Flask has no hook for unhandled errors


def is_unrendered_error(error: HTTPException) -> bool:
    """Return whether an exception is an HTTP error (status 400 or above) that has no response of its own.

    Exceptions of ``flask.abort(response)`` have one, and those whose class makes its own response, as ``Problem`` does.
    """
    is_error = error.code is not None and error.code >= 400
    return is_error and error.response is None and not any(map(partial(_overrides, error), _RENDERING_METHODS))


def _overrides(error: HTTPException, method: str) -> bool:
    return getattr(getattr(error, method), "__func__", None) is not getattr(HTTPException, method)


def problem_from_error(error: HTTPException) -> Response:
    """Log an HTTP error and return it as problem details (RFC 9457), with its headers, such as ``Allow``.

    A description that is a list or a dict, such as of validation errors, becomes the member ``errors``.
    """
    refusal, description = refuse_http_error(error), error.description
    return render_problem(refusal, **({"errors": _to_encodable(description)} if _is_structured(description) else {}))


def _describe_error(error: HTTPException, status: int) -> str:
    """Return the description of an HTTP error; if it is Werkzeug's default text for browsers, a text for developers.

    If the description is a list or a dict, return the phrase of the HTTP status.
    """
    if _is_structured(error.description):
        return status_phrase(status)
    if error.description and error.description != type(error).description:
        return str(error.description)  # it may be a text that is translated when it is used
    descriptions = {
        400: "the request is malformed: its JSON, a parameter or a header cannot be read",
        404: "there is nothing at this path",
        405: "this method is not allowed here; the Allow header names those that are",
        500: SERVER_FAILED,
    }
    return descriptions.get(status) or str(error.description or status_phrase(status))


def _is_structured(description: object) -> bool:
    return isinstance(description, list | tuple | dict)


def _to_encodable(value: object) -> object:
    """Return a value that can be encoded as JSON: the value, or its text, for example if one of its keys is a tuple."""
    try:
        encode_json(value, str)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


def request_is_below(prefix: str) -> bool:
    """Return whether the path of the current request equals a path prefix (such as ``/api``) or is below it."""
    return is_below(prefix, request.path)
