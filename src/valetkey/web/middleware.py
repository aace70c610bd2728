"""WSGI middleware (PEP 3333): the base class, how an app gets it, and the middleware that every app has.

``extension.py`` and ``standalone.py`` have the ordered list of an app's middleware.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any

from flask import Flask

from .wsgi import (
    FAILURE_KEY,
    Environ,
    Headers,
    ResponseHook,
    StartResponse,
    WsgiApp,
)

_AMBIGUOUS_PATH = (
    "the path of the issuer, %s, is also the beginning of api_prefix or of another path of this server. If a proxy "
    "removes the path of the issuer, requests are not found: let the proxy keep it, or change the other path"
)
_APP_KEY = "valetkey.app"  # in the WSGI environment: the app whose ResponseHookMiddleware was called last
_log = logging.getLogger("valetkey")


class Middleware(ABC):
    """Base class of WSGI middleware: an object that handles a request, or passes it on to ``inner``.

    The docstring of each subclass has a paragraph "Order:", which names the middleware that must be outside or inside
    of it, and why. One object is for one app.
    """

    inner: WsgiApp  # set by add_middleware()

    @abstractmethod
    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request (PEP 3333)."""


def add_middleware(app: Flask, *middleware: Middleware) -> None:
    """Put WSGI middleware around an app.

    Middleware that the app has already is inside of it, and middleware that the app gets later is outside of it.

    :param middleware: outermost first: a request passes through it in this order.
    """
    for layer in reversed(middleware):
        layer.inner = app.wsgi_app
        app.wsgi_app = layer  # type: ignore[method-assign]  # Flask documents this way to add middleware


class ResponseHookMiddleware(Middleware):
    """Calls functions at the start of each response, which may add headers to it.

    A header costs almost nothing here. Three Flask ``after_request`` functions that add four headers cost 7 us more,
    because Flask checks and copies each header twice. Header values are not checked for line breaks: a function must
    check values that come from the request.

    Order: outside of all middleware whose responses need the headers, such as the authorize fast path and the CORS
    preflight responses; inside of ``IssuerPathMiddleware``, because the functions compare paths without the issuer's.

    :param hooks: functions that are called with the WSGI environment, the status line and the list of headers.
    """

    def __init__(self, app: Flask, *hooks: ResponseHook) -> None:
        self._app = app
        self._hooks = hooks

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(_APP_KEY, self._app) is not self._app:  # another app was called first with this environment
            _remove_values(environ)
        environ[_APP_KEY] = self._app
        hooks = self._hooks

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            for hook in hooks:
                hook(environ, status, headers)
            return start_response(status, headers, exc_info)

        return self.inner(environ, start)


def _remove_values(environ: Environ) -> None:
    """Remove all values of Valetkey from a WSGI environment, except for what middleware outside of this has set."""
    for key in [key for key in environ if key.startswith("valetkey.") and key != FAILURE_KEY]:
        del environ[key]


class IssuerPathMiddleware(Middleware):
    """Moves the path of the issuer URL (RFC 8414 §3.1) from PATH_INFO to SCRIPT_NAME (PEP 3333).

    So the app's routes match without this path, and the URLs that it builds include it. Nothing is changed if the
    server mounts the app at the path itself, which SCRIPT_NAME shows. If a proxy removes the path, SCRIPT_NAME is set
    for Valetkey's own paths and for the API, so that their URLs are still below the issuer, such as those of the next
    page of a list.

    If the path is also the beginning of one of these paths, such as ``/api``, a request after such a proxy looks like
    one that still has the path, and is taken for that. This is logged once.

    Order: outside of all other middleware, which compares paths without the issuer's path.

    :param path: the path of the issuer URL, without a final slash.
    :param own_paths: the paths of Valetkey and of the API, below the issuer.
    """

    def __init__(self, path: str, own_paths: Collection[str]) -> None:
        self._path = path
        self._own_paths = own_paths
        self._is_logged = not any(f"{own}/".startswith(f"{path}/") for own in own_paths)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path, info, script = self._path, environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if is_mounted_at(path, environ):
            return self.inner(environ, start_response)
        if info.startswith(path + "/"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = script + path, info[len(path) :]
            if not self._is_logged and not self._is_own(info[len(path) :]):
                self._is_logged = True
                _log.warning(_AMBIGUOUS_PATH, path)
        elif self._is_own(info):
            environ["SCRIPT_NAME"] = script + path
        return self.inner(environ, start_response)

    def _is_own(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self._own_paths)


def is_mounted_at(path: str, environ: Environ) -> bool:
    """Return whether the server has moved the path of the issuer from PATH_INFO to SCRIPT_NAME already."""
    return str(environ.get("SCRIPT_NAME", "")).endswith(path)
