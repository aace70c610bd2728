"""Allow cross-origin requests from browsers (the CORS protocol of the Fetch standard), without cookies."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext, suppress

from flask import Flask, Response, has_app_context
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RoutingException

from valetkey.protocol.cors import allowed_headers
from valetkey.web.middleware import Middleware, ResponseHookMiddleware, add_middleware
from valetkey.web.page_headers import PAGE_HEADERS_KEY
from valetkey.web.wsgi import OWN_RESPONSE_KEY, Environ, Headers, ResponseHook, StartResponse, is_below

EXPOSED_HEADERS = (
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, WWW-Authenticate, Link, "
    "ETag, Location, Retry-After, Request-Id, Deprecation, Sunset, Idempotent-Replayed"
)
_DEFAULT_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Request-Id"
_log = logging.getLogger("valetkey")
_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+").fullmatch
_ALLOW_ORIGIN = "access-control-allow-origin"
OriginCheck = Callable[[Environ, str], bool]  # called with the WSGI environment and the origin


def use_cors(app: Flask, prefix: str = "", origins: Collection[str] | Callable[[str], bool] | None = None) -> None:
    """Allow scripts on other origins to call the routes below a prefix and to read the responses.

    Preflight requests get their response before any ``before_request`` hook, because they carry no access token.
    Cookies are never allowed (no ``Access-Control-Allow-Credentials``). A response that has its own
    ``Access-Control-Allow-Origin`` is not changed, nor are Valetkey's pages. An app with ``Valetkey`` has the setting
    ``cors`` for its API instead.

    :param prefix: path prefix, such as ``/api``; an empty prefix means the whole app.
    :param origins: the allowed origins, such as ``["https://app.example"]``, or a function that takes an origin and
        returns whether it is allowed, called in the application context. Default: every origin.
    :raises ValueError: if one of ``origins`` is not an origin as browsers send it: scheme, host and perhaps a port,
        without a path.
    """
    allowed = None if origins is None else _make_origin_check(app, origins)
    hooks = ResponseHookMiddleware(app, make_cors_hook(prefix, allowed))
    add_middleware(app, hooks, PreflightMiddleware(app, prefix, allowed))


def make_cors_hook(prefix: str, allowed: OriginCheck | None) -> ResponseHook:
    """Return a function for ``ResponseHookMiddleware`` that adds CORS headers to the responses below a path prefix.

    :param allowed: function that returns whether an origin is allowed; None allows every origin.
    """

    def add_cors_headers(environ: Environ, status: str, headers: Headers) -> None:
        if is_below(prefix, environ["PATH_INFO"]) and PAGE_HEADERS_KEY not in environ:
            if allowed is not None:
                headers.append(("Vary", "Origin"))  # also without Origin: caches must not mix the two responses
            origin = environ.get("HTTP_ORIGIN")
            if origin is None or any(name.lower() == _ALLOW_ORIGIN for name, _ in headers):
                return
            if (allowed_origin := _find_allowed_origin(environ, allowed)) is not None:
                headers.append(("Access-Control-Allow-Origin", allowed_origin))
                headers.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))

    return add_cors_headers


def _make_origin_check(app: Flask, origins: Collection[str] | Callable[[str], bool]) -> OriginCheck:
    """Return the origin check for the argument ``origins`` of ``use_cors``.

    A function is called in the app's context, which Flask has not made yet when a preflight request arrives.
    """
    if not callable(origins):
        allowed = _parse_origins(origins)
        return lambda _, origin: origin in allowed

    def is_allowed(_: Environ, origin: str) -> bool:
        with nullcontext() if has_app_context() else app.app_context():
            return origins(origin)

    return is_allowed


class PreflightMiddleware(Middleware):
    """Responds to the CORS preflight requests below a path prefix, if the app has a route and the origin is allowed.

    All others are passed on, so that the host app may allow further origins. It is middleware because a Flask hook
    would slow down all other requests.

    Order: inside of ``ResponseHookMiddleware``, which adds the request id; outside of the app, because its
    ``before_request`` functions refuse a request without access token.

    :param is_allowed: function that returns whether an origin is allowed; None allows every origin.
    """

    def __init__(self, app: Flask, prefix: str, is_allowed: OriginCheck | None) -> None:
        self._app = app
        self._prefix = prefix
        self._is_allowed = is_allowed

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if (
            environ["REQUEST_METHOD"] == "OPTIONS"
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
            and is_below(self._prefix, environ["PATH_INFO"])
            and (allowed_origin := _find_allowed_origin(environ, self._is_allowed)) is not None
            and (methods := self._find_methods(environ))
        ):
            environ[OWN_RESPONSE_KEY] = True
            return _preflight_response(environ, allowed_origin, methods)(environ, start_response)
        return self.inner(environ, start_response)

    def _find_methods(self, environ: Environ) -> list[str]:
        """Return the methods of the routes at the URL; empty if there is none, or if it is one of Valetkey's own.

        Only the URL map is asked: hooks, the session and teardown functions of the app belong to the real request.
        """
        try:
            adapter = self._app.create_url_adapter(self._app.request_class(environ))
            if adapter is None:
                return []
            with suppress(MethodNotAllowed):  # without PROVIDE_AUTOMATIC_OPTIONS, routes of the app lack OPTIONS
                rule, _ = adapter.match(method="OPTIONS", return_rule=True)
                if rule.endpoint.startswith("valetkey_"):
                    return []
            return sorted(adapter.allowed_methods())
        except (HTTPException, RoutingException):  # there is no route, or a redirect: the app responds itself
            return []
        except Exception:  # of a converter of the app, which is called again for the app's own response
            _log.debug("the route of a preflight request was not found", exc_info=True)
            return []


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


def _preflight_response(environ: Environ, allowed_origin: str, methods: Collection[str]) -> Response:
    """Return the response to a CORS preflight request, which browsers cache for 600 seconds.

    It has no ``Access-Control-Allow-Credentials``, so browsers send no cookies with the actual request.
    """
    response = Response(status=204)
    requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    response.headers["Vary"] = "Origin, Access-Control-Request-Headers"
    response.headers["Access-Control-Allow-Origin"] = allowed_origin
    response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
    response.headers["Access-Control-Allow-Headers"] = allowed_headers(requested, _DEFAULT_ALLOWED_HEADERS)
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def _find_allowed_origin(environ: Environ, is_allowed: OriginCheck | None) -> str | None:
    """Return the value of ``Access-Control-Allow-Origin`` for a request, or None if its origin is not allowed.

    :param is_allowed: function that returns whether an origin is allowed; None allows every origin.
    """
    if is_allowed is None:
        return "*"
    origin: str = environ.get("HTTP_ORIGIN", "")
    return origin if origin and is_allowed(environ, origin) else None
