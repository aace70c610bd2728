"""Health checks for load balancers and orchestrators: whether the process runs, and whether it can serve requests."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from flask import Flask

from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.settings import Settings, SettingsError
from valetkey.storage.engine.after_fork import call_after_fork

from .middleware import Middleware
from .security_headers import security_headers
from .wsgi import Environ, StartResponse, prepare_for_requests

_CACHE_LIFETIME_S = 1.0
_PROBE_LIMIT = parse_limit("1/second")
_NOT_CHECKED = "state"  # the name of the only check until the first ones have ended
_STARTUP = "startup"  # the name of the check that the app makes before its first request
_log = logging.getLogger("valetkey")


class HealthMiddleware(Middleware):
    """Responds at ``health_path`` while the process runs, and at ``readiness_path`` with what it depends on.

    A route of the app with the same path takes precedence. The response has no cookie and no secret: what failed, and
    not why; the log says why.

    Order: outside of all middleware but ``IssuerPathMiddleware``: a probe may use any host, and needs no hook.
    """

    def __init__(self, app: Flask, settings: Settings, readiness: Readiness) -> None:
        self._app = app
        self._health_path = settings.health_path
        self._readiness_path = settings.readiness_path
        self._readiness = readiness
        self._security_headers = security_headers(settings.issuer)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in {self._health_path, self._readiness_path} or self._is_route_of_app(path):
            return self.inner(environ, start_response)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self._respond(environ, start_response, "405 Method Not Allowed", {}, ("Allow", "GET, HEAD"))
        if path == self._health_path:
            return self._respond(environ, start_response, "200 OK", {"status": "ok"})
        checks = self._readiness.read()
        failed = {name for name, result in checks.items() if result != "ok"}
        if failed & (self._readiness.required | {_NOT_CHECKED, _STARTUP}):
            body = {"status": "unavailable", "checks": checks}
            return self._respond(environ, start_response, "503 Service Unavailable", body, ("Retry-After", "2"))
        return self._respond(
            environ, start_response, "200 OK", {"status": "degraded" if failed else "ok", "checks": checks}
        )

    def _is_route_of_app(self, path: str) -> bool:
        return any(rule.rule == path for rule in self._app.url_map.iter_rules())

    def _respond(
        self, environ: Environ, start_response: StartResponse, status: str, body: object, *headers: tuple[str, str]
    ) -> list[bytes]:
        content = encode_json(body)
        start_response(
            status,
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                *self._security_headers,
                *headers,
            ],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


class Readiness(ABC):
    """The state of what requests depend on, checked at most once a second, by one thread at a time.

    If the checks that the app makes before its first request fail, the app serves no requests.

    :cvar required: names of the other checks without which requests cannot be served.
    """

    required: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._reset()
        call_after_fork(self._reset)
        self._checks = {_NOT_CHECKED: "unknown"}

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._checked_at: float | None = None

    def read(self) -> dict[str, str]:
        """Return the result of each check by name: ``ok``, ``failed``, ``none`` or ``unknown``.

        While another thread is checking, the last result is returned, so that a slow database holds one thread only.
        """
        if self._lock.acquire(blocking=False):
            try:
                if self._checked_at is None or time.monotonic() - self._checked_at > _CACHE_LIFETIME_S:
                    self._checks = {
                        _STARTUP: self.run(_STARTUP, partial(prepare_for_requests, self._app)),
                        **self.check(),
                    }
                    self._checked_at = time.monotonic()
            finally:
                self._lock.release()
        return self._checks

    @abstractmethod
    def check(self) -> dict[str, str]:
        """Make the checks, each with ``run``, and return their results by name."""

    def check_counters(self, limiter: Limiter, now: float) -> str:
        """Return the result of counting a request against a limit."""
        return self.run("counters", lambda: limiter.spend("health", _PROBE_LIMIT, now))

    def run(self, name: str, check: Callable[[], object]) -> str:
        """Return the result of one check; log why it failed if it did not fail before."""
        try:
            return "none" if check() == "none" else "ok"
        except Exception as error:
            if self._checks.get(name) != "failed":
                is_explained = isinstance(error, BackendUnavailable | SettingsError)
                _log.warning("not ready, %s: %s", name, error, exc_info=not is_explained)
            return "failed"
