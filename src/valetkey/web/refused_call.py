"""``CallRefused``, the exception of an API call that the guard refuses, and what makes sure that its response is sent.

The exception passes through the decorators of the host app, and neither a generic error handler nor a decorator that
catches it can turn the refusal into another response.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wsgi import ClosingIterator

from valetkey.protocol.refusal import Refusal

from .middleware import Middleware
from .problem_responses import render_problem
from .restx_handlers import find_restx_handler
from .wsgi import OWN_RESPONSE_KEY, Environ, Headers, StartResponse, blueprint_scopes

_REFUSED_CALL_KEY = "valetkey.refused_call"  # in the WSGI environment: the RefusedCall of the request
_IS_RENDERED_KEY = "valetkey.refused_call_is_rendered"  # ... whether Valetkey or an error handler for it has responded
# Header fields that only the refusal sets; the RateLimit fields are added further outside.
_ENFORCED_FIELDS = {"www-authenticate", "retry-after", "ratelimit", "ratelimit-policy"} | {
    f"x-ratelimit-{name}" for name in ("limit", "remaining", "reset")
}


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """The response to a refused call.

    The exception is not stored in the WSGI environment, because its traceback refers to the environment.

    :param protection: what refused the call; the call is not refused any more if the same passes later.
    """

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    protection: Any


class CallRefused(HTTPException):
    """An API call is refused: its token is missing, not valid or lacks a scope, a limit is reached, and so on.

    ``require_oauth``, ``public`` and ``protect`` raise it before the view runs. Error handlers for this class and for
    its status (``@app.errorhandler(401)``) choose the body of the response; handlers for ``HTTPException`` and
    ``Exception`` do not see it. The status and the header fields ``WWW-Authenticate``, ``Retry-After``, ``RateLimit``
    and ``RateLimit-Policy`` cannot be changed.

    ``code`` is the HTTP status, ``error`` the error code, such as ``insufficient_scope`` (RFC 6750 §3.1), and
    ``description`` explains it. ``get_response()`` returns the response with problem details (RFC 9457).
    """

    error: str
    response: Response

    def __new__(cls, response: Response, *_: Any) -> CallRefused:
        return super().__new__(_class_for_status(response.status_code))

    def __init__(self, response: Response, error: str, description: str) -> None:
        super().__init__(description, response)
        self.code = response.status_code
        self.error = error


@functools.cache
def _class_for_status(status: int) -> type[CallRefused]:
    """Return a subclass of both ``CallRefused`` and Werkzeug's exception for an HTTP status, for which handlers exist.

    If Werkzeug has no exception for the status, return ``CallRefused``.
    """
    http_exception = default_exceptions.get(status)
    if http_exception is None:
        return CallRefused
    return type(f"CallRefused{status}", (CallRefused, http_exception), {})


def refuse_call(environ: Environ, protection: Any, refusal: Refusal, **members: Any) -> CallRefused:
    """Return the exception of a refused call, and make ``RefusedCallMiddleware`` enforce its response.

    The response has problem details (RFC 9457).

    :param protection: what refuses the call.
    :param refusal: the refusal, complete except for the RateLimit fields.
    :param members: additional members of the body (RFC 9457 §3.2), by name.
    """
    response = render_problem(refusal, **members)
    headers = tuple((name, value) for name, value in response.headers)
    environ[_REFUSED_CALL_KEY] = RefusedCall(response.status, headers, response.get_data(), protection)
    environ[OWN_RESPONSE_KEY] = True
    environ.pop(_IS_RENDERED_KEY, None)
    return CallRefused(response, refusal.error, refusal.description)


def admit_call(environ: Environ, protection: Any) -> None:
    """Undo the refusal of the current request by the same protection, for example after a decorator tried again."""
    refused: RefusedCall | None = environ.get(_REFUSED_CALL_KEY)
    if refused is not None and refused.protection is protection:
        del environ[_REFUSED_CALL_KEY], environ[OWN_RESPONSE_KEY]


def respond_to_refused_calls(app: Flask, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls another and, if that raises ``CallRefused``, returns the response to it."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except CallRefused as refused:
            handler = _find_exact_handler(app, type(refused), refused.code, request.endpoint)
            response = refused.response if handler is None else app.ensure_sync(handler)(refused)
            request.environ[_IS_RENDERED_KEY] = True
            return response

    return call


def has_error_handler(app: Flask, status: int, endpoint: str) -> bool:
    """Return whether the app chooses the body of the response to a refused call.

    :param status: HTTP status of the refusal.
    :param endpoint: name of the Flask endpoint of the call.
    """
    return _find_exact_handler(app, _class_for_status(status), status, endpoint) is not None


def _find_exact_handler(
    app: Flask, refused_class: type, status: int | None, endpoint: str | None
) -> Callable[..., Any] | None:
    """Return the app's error handler for the status or class of a refusal, in the order in which Flask looks for them.

    Handlers of Flask-RESTX for its own views come first. Return ``None`` if there are only handlers for
    ``HTTPException``, ``Exception``, or a class between them.
    """
    exact_classes = _list_exact_classes(refused_class)
    if (restx_handler := find_restx_handler(app, endpoint, exact_classes)) is not None:
        return restx_handler
    scopes = blueprint_scopes(endpoint)
    for code in (status, None):
        for scope in scopes:
            handlers = app.error_handler_spec.get(scope, {}).get(code, {})
            for exception_class in exact_classes:
                if exception_class in handlers:
                    return handlers[exception_class]
    return None


@functools.cache
def _list_exact_classes(refused: type) -> tuple[type, ...]:
    """Return the class and its base classes, without ``HTTPException`` and its base classes."""
    return tuple(item for item in refused.__mro__ if not issubclass(HTTPException, item))


class RefusedCallMiddleware(Middleware):
    """Enforces the response to a call that the guard has refused.

    If an error handler for the refusal has made the response, its status and header fields are enforced. Any other
    response is replaced: the view did not run, but a decorator may have caught the exception and returned something
    else, for example what it had stored before.

    Order: inside of ``ResponseHookMiddleware``, which adds the RateLimit fields and counts the call by its status;
    outside of the app and of its own middleware.
    """

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop(_REFUSED_CALL_KEY, None)  # set if the app was called before with the same environment
        is_started = False

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            nonlocal is_started
            is_started = True
            refused: RefusedCall | None = environ.get(_REFUSED_CALL_KEY)
            if refused is not None:
                # A hook of the app failed after the refusal, and this would be the body of its error.
                if status.startswith("5") and not refused.status.startswith("5"):
                    environ.pop(_IS_RENDERED_KEY, None)
                status, headers = refused.status, _enforce_headers(environ, refused, headers)
            return start_response(status, headers, exc_info)

        try:
            chunks = self.inner(environ, start)
        except CallRefused:  # raised by an error handler, or by middleware
            start("", [])
            chunks = ()
        if not is_started:
            chunks = _start_iteration(chunks)  # middleware that is a generator
        refused = environ.get(_REFUSED_CALL_KEY)
        if refused is None or _IS_RENDERED_KEY in environ:
            return chunks
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [refused.body]


def _enforce_headers(environ: Environ, refused: RefusedCall, headers: Headers) -> Headers:
    """Return the header fields of the response to a refused call.

    :param headers: those of the response that the app made. If that is replaced, only its CORS fields are kept.
    """
    if _IS_RENDERED_KEY not in environ:
        cors = [item for item in headers if item[0].lower() == "vary" or item[0].lower().startswith("access-control-")]
        return [*refused.headers, *cors]
    enforced = [item for item in refused.headers if not item[0].lower().startswith("content-")]
    replaced = _ENFORCED_FIELDS.union(name.lower() for name, _ in enforced)
    return [*(item for item in headers if item[0].lower() not in replaced), *enforced]


def _start_iteration(chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Return chunks of a response, the first of which was read: by then, PEP 3333 requires the response to start."""
    iterator = iter(chunks)
    first = next(iterator, b"")

    def join() -> Iterable[bytes]:
        yield first
        yield from iterator

    close = getattr(chunks, "close", None)
    return ClosingIterator(join(), [] if close is None else [close])
