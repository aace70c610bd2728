"""WSGI middleware (PEP 3333) that adds response headers after all of Flask's hooks, or handles an issuer with a path.

Also a hook that runs before the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from flask import Flask

TOKEN_KEY = "valetkey.token"  # in the WSGI environment: the verified access token of the request
Environ = dict[str, Any]
Headers = list[tuple[str, str]]
ResponseHook = Callable[[Environ, str, Headers], None]  # called with the status, like ``200 OK``; may add headers
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def before_first_request(app: Flask, callback: Callable[[], None]) -> None:
    """Make the app call a function before its first request, before all other ``before_request`` functions.

    If the function raises an exception, it is called again before the next request, until it returns.
    """
    hooks = app.before_request_funcs.setdefault(None, [])

    def call_once() -> None:
        callback()
        # A new list, because Flask is iterating over the old one. A concurrent request that still iterates over the
        # old one calls the callback again, which is harmless.
        app.before_request_funcs[None] = [hook for hook in app.before_request_funcs[None] if hook is not call_once]

    hooks.insert(0, call_once)


def add_response_hooks(app: Flask, *hooks: ResponseHook) -> None:
    """Make the app call functions at the start of each response, which may add headers to it.

    A header costs almost nothing here. Three Flask ``after_request`` functions that add four headers cost 7 us more,
    because Flask checks and copies each header twice. Header values are not checked for line breaks: a function must
    check values that come from the request.

    :param hooks: functions that are called with the WSGI environment, the status line and the list of headers.
    """
    inner = app.wsgi_app

    def response_hook_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop(TOKEN_KEY, None)  # set by another app that was called first with the same environment

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            for hook in hooks:
                hook(environ, status, headers)
            return start_response(status, headers, exc_info)

        return inner(environ, start)

    app.wsgi_app = response_hook_middleware  # type: ignore[method-assign]  # as in Flask's documentation


def mount_at(path: str, app: WsgiApp, own_paths: Collection[str]) -> WsgiApp:
    """Return a WSGI app that moves the path of the issuer URL from PATH_INFO to SCRIPT_NAME (PEP 3333).

    So the app's routes match without this path, and the URLs that it builds include it. Nothing is changed if the
    server mounts the app at the path itself. If a proxy removes the path, SCRIPT_NAME is set
    for Valetkey's own paths, so that their URLs are still below the issuer.

    :param path: the path of the issuer URL, without a final slash.
    :param own_paths: Valetkey's own paths below the issuer.
    """

    def mount_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        info, script = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if info.startswith(path + "/"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = script + path, info[len(path) :]
        elif not script.endswith(path) and any(info == own or info.startswith(f"{own}/") for own in own_paths):
            environ["SCRIPT_NAME"] = script + path
        return app(environ, start_response)

    return mount_middleware
