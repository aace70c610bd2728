"""Cross-origin calls from browsers (the Fetch standard's CORS protocol), without credentials: no cookie counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from flask import Flask, Response, current_app, request

from valetkey.web.problem_responses import request_is_below
from valetkey.web.wsgi import Environ, Headers, ResponseHook, add_response_hooks

EXPOSED_HEADERS = (
    "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, WWW-Authenticate, Link, "
    "ETag, Location, Retry-After, Request-Id, Deprecation, Sunset, Idempotent-Replayed"
)
_DEFAULT_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Request-Id"
_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\sA-Z]+").fullmatch
_are_header_names = re.compile(r"[A-Za-z0-9_, -]{1,1000}").fullmatch
_OriginCheck = Callable[[str], bool]


def use_cors(app: Flask, prefix: str = "", origins: Collection[str] | _OriginCheck | None = None) -> None:
    """Let programs in browsers call the routes below a prefix, and read what matters of the answers.

    Preflights are answered before any other hook: they bring no token. An answer that has CORS headers keeps them.

    :param origins: those that may, as ``https://app.example``, or a function that says so; None: all.
    :raises ValueError: where one of them is no origin, which no browser would ever send.
    """
    add_response_hooks(app, set_up_cors(app, prefix, origins))


def set_up_cors(app: Flask, prefix: str, origins: Collection[str] | _OriginCheck | None) -> ResponseHook:
    """Answer an app's preflights; what is returned is to see each answer, as in ``use_cors``."""
    allowed = origins if callable(origins) or origins is None else _parse_origins(origins).__contains__
    below = f"{prefix}/"

    def tell(environ: Environ, status: str, headers: Headers) -> None:
        path = environ["PATH_INFO"]
        if path.startswith(below) or path == prefix:
            if allowed is not None:
                headers.append(("Vary", "Origin"))  # also where there is none: a cache must not mix the two
            origin = environ.get("HTTP_ORIGIN")
            if origin is None or any(name == "Access-Control-Allow-Origin" for name, _ in headers):
                return
            if (told := _allow_origin_value(origin, allowed)) is not None:
                headers.append(("Access-Control-Allow-Origin", told))
                headers.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))

    _handle_preflights(app, prefix, allowed)
    return tell


def _handle_preflights(app: Flask, prefix: str, is_allowed: _OriginCheck | None) -> None:
    """Before Flask sees them, so that a request which is none pays nothing for it."""
    inner = app.wsgi_app

    def preflight_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            with app.request_context(environ):
                if request_is_below(prefix) and request.url_rule is not None:
                    return _preflight_response(is_allowed)(environ, start_response)
        return inner(environ, start_response)

    app.wsgi_app = preflight_middleware  # type: ignore[method-assign]  # as Flask's documentation does


def _parse_origins(origins: Collection[str]) -> frozenset[str]:
    """Origins as browsers write them: scheme, host and perhaps a port, and nothing after it (RFC 6454 §6.2)."""
    if isinstance(origins, str):
        raise ValueError(f"origins is a list, like [{origins!r}]; leave it out for all")
    for one in origins:
        if not _is_origin(one):
            raise ValueError(f"{one!r} is no origin: write it like 'https://app.example'; for all leave origins out")
    return frozenset(origins)


def _preflight_response(is_allowed: _OriginCheck | None) -> Response:
    """What may be sent; without Access-Control-Allow-Credentials, so a browser sends no cookie with it."""
    response = Response(status=204)
    told = _allow_origin_value(request.headers.get("Origin", ""), is_allowed)
    response.headers["Vary"] = "Origin, Access-Control-Request-Headers"
    if told is None:
        return response
    adapter = current_app.create_url_adapter(request)
    asked = request.headers.get("Access-Control-Request-Headers", "")
    response.headers["Access-Control-Allow-Origin"] = told
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(adapter.allowed_methods() if adapter else ()))
    response.headers["Access-Control-Allow-Headers"] = asked if _are_header_names(asked) else _DEFAULT_ALLOWED_HEADERS
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def _allow_origin_value(origin: str, is_allowed: _OriginCheck | None) -> str | None:
    if is_allowed is None:
        return "*"
    return origin if origin and is_allowed(origin) else None
