"""The app's runtime, and who is calling."""

from __future__ import annotations

from flask import current_app, request

from valetkey.rate_limiting.address import caller_address
from valetkey.runtime import Runtime

EXTENSION = "valetkey"


def current_runtime() -> Runtime:
    runtime: Runtime = current_app.extensions[EXTENSION]
    return runtime


def current_address(runtime: Runtime) -> str | None:
    """The caller's address; X-Forwarded-For counts from trusted proxies only (RFC 9700 §4.13)."""
    environ = request.environ
    trusted = runtime.settings.trusted_proxies
    if not trusted:
        return environ.get("REMOTE_ADDR")
    return caller_address(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR"), trusted)


def current_route() -> str:
    """The route of this request, for the log: a path may hold a secret, or a line break."""
    return request.url_rule.rule if request.url_rule else "(no route)"
