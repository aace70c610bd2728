"""The WSGI border of an app (PEP 3333): what each answer is given as it leaves, after all of Flask's hooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from flask import Flask

TOKEN_KEY = "valetkey.token"  # in the WSGI environment: the access token that opened the route
Environ = dict[str, Any]
Headers = list[tuple[str, str]]
ResponseHook = Callable[[Environ, str, Headers], None]  # is told the status, as ``200 OK``, and may add headers
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def before_first_request(app: Flask, callback: Callable[[], None]) -> None:
    """Call a function before the first request and all other hooks, and no more once it has returned."""
    hooks = app.before_request_funcs.setdefault(None, [])

    def first() -> None:
        callback()
        # A new list: Flask is walking through the old one. Whoever else waits there has only to call it again.
        app.before_request_funcs[None] = [hook for hook in app.before_request_funcs[None] if hook is not first]

    hooks.insert(0, first)


def add_response_hooks(app: Flask, *hooks: ResponseHook) -> None:
    """Let functions see each answer of an app as it begins, and add headers to it.

    Here a header costs next to nothing; three hooks of Flask's that added four headers cost 7 us more, for each header
    is checked and copied twice then. The values have to be of our own making: nobody looks for line breaks in them.
    """
    inner = app.wsgi_app

    def response_hook_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop(TOKEN_KEY, None)  # of another app that was asked first, with the same environment

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            for finish in hooks:
                finish(environ, status, headers)
            return start_response(status, headers, exc_info)

        return inner(environ, start)

    app.wsgi_app = response_hook_middleware  # type: ignore[method-assign]  # as Flask's documentation does


def mount_at(path: str, app: WsgiApp, own_paths: Collection[str]) -> WsgiApp:
    """Move the issuer's path from PATH_INFO to SCRIPT_NAME, where URLs that the app builds begin (PEP 3333).

    A server that mounts the app at the path has done it already. A proxy may take the path off: then what is ours is
    at the issuer all the same.

    :param ours: where our own pages are, below the issuer.
    """

    def mount_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        info, script = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if info.startswith(path + "/"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = script + path, info[len(path) :]
        elif not script.endswith(path) and any(info == one or info.startswith(f"{one}/") for one in own_paths):
            environ["SCRIPT_NAME"] = script + path
        return app(environ, start_response)

    return mount_middleware
