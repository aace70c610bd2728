"""Allow cross-origin requests from browsers (the CORS protocol of the Fetch standard), without cookies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed

from valetkey.protocol.cors import allowed_headers
from valetkey.web.middleware import Middleware, ResponseHookMiddleware, add_middleware
from valetkey.web.problem_responses import request_is_below
from valetkey.web.wsgi import OWN_RESPONSE_KEY, Environ, Headers, ResponseHook, StartResponse, is_below

EXPOSED_HEADERS = (
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, WWW-Authenticate, Link, "
    "ETag, Location, Retry-After, Request-Id, Deprecation, Sunset, Idempotent-Replayed"
)
_DEFAULT_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Request-Id"
_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+").fullmatch
_ALLOW_ORIGIN = "access-control-allow-origin"
OriginCheck = Callable[[str], bool]


def use_cors(app: Flask, prefix: str = "", origins: Collection[str] | OriginCheck | None = None) -> None:
    """Allow scripts on other origins to call the routes below a prefix and to read the responses.

    Preflight requests get their response before any ``before_request`` hook, because they carry no access token.
    Cookies are never allowed (no ``Access-Control-Allow-Credentials``). A response that has its own
    ``Access-Control-Allow-Origin`` is not changed. An app with ``Valetkey`` has the setting ``cors`` for its API
    instead.

    :param prefix: path prefix, such as ``/api``; an empty prefix means the whole app.
    :param origins: the allowed origins, such as ``["https://app.example"]``, or a function that takes an origin and
        returns whether it is allowed. Default: every origin.
    :raises ValueError: if one of ``origins`` is not an origin as browsers send it: scheme, host and perhaps a port,
        without a path.
    """
    allowed = origins if callable(origins) or origins is None else _parse_origins(origins).__contains__
    hooks = ResponseHookMiddleware(make_cors_hook(prefix, allowed))
    add_middleware(app, hooks, PreflightMiddleware(app, prefix, allowed))


def make_cors_hook(prefix: str, allowed: OriginCheck | None) -> ResponseHook:
    """Return a function for ``ResponseHookMiddleware`` that adds CORS headers to the responses below a path prefix.

    :param allowed: function that returns whether an origin is allowed; None allows every origin.
    """

    def add_cors_headers(environ: Environ, status: str, headers: Headers) -> None:
        if is_below(prefix, environ["PATH_INFO"]):
            if allowed is not None:
                headers.append(("Vary", "Origin"))  # also without Origin: caches must not mix the two responses
            origin = environ.get("HTTP_ORIGIN")
            if origin is None or any(name.lower() == _ALLOW_ORIGIN for name, _ in headers):
                return
            if (allowed_origin := _allow_origin_value(origin, allowed)) is not None:
                headers.append(("Access-Control-Allow-Origin", allowed_origin))
                headers.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))

    return add_cors_headers


class PreflightMiddleware(Middleware):
    """Responds to the CORS preflight requests below a path prefix.

    It is middleware because a Flask hook would slow down all other requests.

    Order: inside of ``ResponseHookMiddleware``, which adds the request id; outside of the app, because its
    ``before_request`` functions refuse a request without access token.

    :param is_allowed: function that returns whether an origin is allowed; None allows every origin.
    """

    def __init__(self, app: Flask, prefix: str, is_allowed: OriginCheck | None) -> None:
        self._app = app
        self._prefix = prefix
        self._is_allowed = is_allowed

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            with self._app.request_context(environ):
                # Without PROVIDE_AUTOMATIC_OPTIONS, no rule has this method.
                has_rule = request.url_rule is not None or isinstance(request.routing_exception, MethodNotAllowed)
                if request_is_below(self._prefix) and has_rule:
                    environ[OWN_RESPONSE_KEY] = True
                    return _preflight_response(self._is_allowed)(environ, start_response)
        return self.inner(environ, start_response)


def _parse_origins(origins: Collection[str]) -> frozenset[str]:
    """Return the allowed origins, if each is written as browsers send it: scheme, host, perhaps a port (RFC 6454 §6.2).

    :raises ValueError: if an origin is written differently, or if ``origins`` is a string.
    """
    if isinstance(origins, str):
        raise ValueError(f"origins must be a list, like [{origins!r}]; omit it to allow every origin")
    for origin in origins:
        if not _is_origin(origin):
            raise ValueError(
                f"{origin!r} is not an origin: write it like 'https://app.example'; omit origins to allow every origin"
            )
    return frozenset(origins)


def _preflight_response(is_allowed: OriginCheck | None) -> Response:
    """Return the response to the current CORS preflight request, which browsers cache for 600 seconds.

    It names the allowed origin, the methods of the URL and the allowed headers; it names none of them if the origin is
    not allowed. It has no ``Access-Control-Allow-Credentials``, so browsers send no cookies with the actual request.

    :param is_allowed: function that returns whether an origin is allowed; None allows every origin.
    """
    response = Response(status=204)
    allowed_origin = _allow_origin_value(request.headers.get("Origin", ""), is_allowed)
    response.headers["Vary"] = "Origin, Access-Control-Request-Headers"
    if allowed_origin is None:
        return response
    adapter = current_app.create_url_adapter(request)
    requested = request.headers.get("Access-Control-Request-Headers", "")
    response.headers["Access-Control-Allow-Origin"] = allowed_origin
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(adapter.allowed_methods() if adapter else ()))
    response.headers["Access-Control-Allow-Headers"] = allowed_headers(requested, _DEFAULT_ALLOWED_HEADERS)
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def _allow_origin_value(origin: str, is_allowed: OriginCheck | None) -> str | None:
    """Return the value of ``Access-Control-Allow-Origin`` for an origin, or None if the origin is not allowed.

    :param is_allowed: function that returns whether an origin is allowed; None allows every origin.
    """
    if is_allowed is None:
        return "*"
    return origin if origin and is_allowed(origin) else None
