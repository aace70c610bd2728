"""An issuer with a path: requests below it are the app's own, wherever the app is mounted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from .wsgi import Environ, WsgiApp


def below(path: str, app: WsgiApp, ours: Collection[str]) -> WsgiApp:
    """Move the issuer's path from PATH_INFO to SCRIPT_NAME, where URLs that the app builds begin (PEP 3333).

    A server that mounts the app at the path has done it already. A proxy may take the path off: then what is ours is
    at the issuer all the same.

    :param ours: where our own pages are, below the issuer.
    """

    def mounted(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        info, script = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if info.startswith(path + "/"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = script + path, info[len(path) :]
        elif not script.endswith(path) and any(info == one or info.startswith(f"{one}/") for one in ours):
            environ["SCRIPT_NAME"] = script + path
        return app(environ, start_response)

    return mounted
