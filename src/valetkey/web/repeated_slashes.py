"""One rule for paths with repeated slashes, before Flask and before the endpoints that are handled without Flask."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote

from .middleware import Middleware, is_mounted_at
from .security_headers import security_headers
from .wsgi import Environ, StartResponse

_QUERY_CHARACTERS = "%/?:@!$&'()*+,;=-._~[]"  # they stay as they are in a query


class RepeatedSlashesMiddleware(Middleware):
    """Redirects a request to one of Valetkey's paths, but with repeated slashes, to the path with single slashes.

    WSGI servers decode paths (PEP 3333), so ``/oauth/%2ftoken`` has repeated slashes as well. Flask would ignore those
    at the beginning and redirect for others. The status is 308, so that the method stays the same, and ``Location`` has
    no host. Paths of the host app are left to Flask.

    Order: outside of all other middleware, which compares paths.

    :param own_paths: the paths of Valetkey, without the path of the issuer; all paths below them are its own, too.
    :param issuer: URL of the server.
    :param issuer_path: its path, without a final slash; empty if it has none. ``Location`` has this path, also if a
        proxy has removed it.
    """

    def __init__(self, own_paths: Collection[str], issuer: str, issuer_path: str) -> None:
        self._own_paths = tuple(own_paths)
        self._issuer_path = issuer_path
        self._headers = (("Content-Length", "0"), ("Cache-Control", "no-store"), *security_headers(issuer))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        location = self._find_location(path, environ) if "//" in path else None
        if location is None:
            return self.inner(environ, start_response)
        start_response("308 PERMANENT REDIRECT", [("Location", location), *self._headers])
        return []

    def _find_location(self, path: str, environ: Environ) -> str | None:
        """Return where to redirect to, or ``None`` if the path is not one of Valetkey's."""
        merged = re.sub("/+", "/", path)
        script, prefix = environ.get("SCRIPT_NAME", ""), self._issuer_path
        is_mounted = is_mounted_at(prefix, environ)
        below_issuer = merged.removeprefix(prefix) if not is_mounted and merged.startswith(f"{prefix}/") else merged
        if not any(below_issuer == own or below_issuer.startswith(f"{own}/") for own in self._own_paths):
            return None
        if merged == below_issuer and not is_mounted:  # a proxy has removed the issuer's path
            script += prefix
        target = "/" + quote((script + merged).encode("latin-1"), safe="/:@!$&'()*+,;=~").lstrip("/")
        query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=_QUERY_CHARACTERS)
        return f"{target}?{query}" if query else target
