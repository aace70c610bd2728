"""An issuer with a path: requests below it are the app's own, wherever the app is mounted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .wsgi import Environ, WsgiApp


def below(path: str, app: WsgiApp) -> WsgiApp:
    """Move the issuer's path from PATH_INFO to SCRIPT_NAME, where URLs that the app builds begin (PEP 3333).

    A server that mounts the app at the path, or a proxy that says so by X-Forwarded-Prefix, has done it already.
    """

    def mounted(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        info = environ.get("PATH_INFO", "")
        if info.startswith(path + "/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + path
            environ["PATH_INFO"] = info[len(path) :]
        return app(environ, start_response)

    return mounted
