"""Cross-origin calls from browsers (the Fetch standard's CORS protocol), without credentials: no cookie counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from flask import Flask, Response, current_app, request

from valetkey.web.problems import is_below

EXPOSED = (
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, WWW-Authenticate, Link, "
    "ETag, Location, Retry-After, Request-Id, Deprecation, Sunset, Idempotent-Replayed"
)
_USUAL = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Request-Id"
_are_names = re.compile(r"[A-Za-z0-9_, -]{1,1000}").fullmatch
_Allowed = Callable[[str], bool]


def use_cors(app: Flask, prefix: str = "", origins: Collection[str] | _Allowed | None = None) -> None:
    """Let programs in browsers call the routes below a prefix, and read what matters of the answers.

    Preflights are answered before any other hook: they bring no token. An answer that has CORS headers keeps them.

    :param origins: those that may, as ``https://app.example``, or a function that says so; None: all.
    """
    allowed = origins if callable(origins) or origins is None else frozenset(origins).__contains__
    below = f"{prefix}/"

    def preflight() -> Response | None:
        environ = request.environ  # each look through the proxy costs half a microsecond
        if environ["REQUEST_METHOD"] != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return None
        return _preflight(allowed) if is_below(prefix) and request.url_rule is not None else None

    def tell(response: Response) -> Response:
        environ, headers = request.environ, response.headers
        if environ["PATH_INFO"].startswith(below):
            if allowed is not None:
                headers.add("Vary", "Origin")  # also where there is none: a cache must not mix the two
            origin = environ.get("HTTP_ORIGIN")
            if origin is None or "Access-Control-Allow-Origin" in headers:
                return response
            if (told := _told(origin, allowed)) is not None:
                headers["Access-Control-Allow-Origin"] = told
                headers["Access-Control-Expose-Headers"] = EXPOSED
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, preflight)
    app.after_request(tell)


def _preflight(allowed: _Allowed | None) -> Response:
    """What may be sent; without Access-Control-Allow-Credentials, so a browser sends no cookie with it."""
    response = Response(status=204)
    told = _told(request.headers.get("Origin", ""), allowed)
    response.headers["Vary"] = "Origin, Access-Control-Request-Headers"
    if told is None:
        return response
    adapter = current_app.create_url_adapter(request)
    asked = request.headers.get("Access-Control-Request-Headers", "")
    response.headers["Access-Control-Allow-Origin"] = told
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(adapter.allowed_methods() if adapter else ()))
    response.headers["Access-Control-Allow-Headers"] = asked if _are_names(asked) else _USUAL
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def _told(origin: str, allowed: _Allowed | None) -> str | None:
    if allowed is None:
        return "*"
    return origin if origin and allowed(origin) else None
