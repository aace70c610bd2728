"""Options of the host's Flask app that Valetkey adapts to, or cannot work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.routing import Rule

from valetkey.settings import Settings, SettingsError

from .cookies import COOKIE_NAMES

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def check_cookie_names(app: Flask) -> None:
    """Check that the session cookie of the host app is not one of Valetkey's cookies.

    :raises SettingsError: if it is.
    """
    name = app.config["SESSION_COOKIE_NAME"]
    if name.removeprefix("__Host-").startswith(COOKIE_NAMES):
        raise SettingsError(f"SESSION_COOKIE_NAME is {name!r}, which is a cookie of Valetkey: choose another name")


@contextmanager
def own_rules(app: Flask, settings: Settings) -> Iterator[None]:
    """While the context is open, add URL rules for the issuer's host, if the app matches hosts or subdomains.

    Otherwise the rules are for all hosts. Rules for no host match nothing in an app with ``host_matching=True``.

    :raises SettingsError: if the app matches subdomains and the issuer's host is not below ``SERVER_NAME``.
    """
    options = _rule_options(app, settings)
    original = app.url_rule_class

    def make_rule(rule: str, **rule_options: Any) -> Rule:
        return original(rule, **{**rule_options, **options})

    app.url_rule_class = make_rule  # type: ignore[assignment]  # Flask only calls it
    try:
        yield
    finally:
        app.url_rule_class = original


def _rule_options(app: Flask, settings: Settings) -> dict[str, str]:
    issuer = urlsplit(settings.issuer)
    host = issuer.netloc.lower().removesuffix(_DEFAULT_PORTS[issuer.scheme])
    if app.url_map.host_matching:
        return {"host": host}
    server_name: str | None = app.config["SERVER_NAME"]
    if not app.subdomain_matching or not server_name:
        return {}
    server_name = server_name.lower()
    if host != server_name and not host.endswith(f".{server_name}"):
        raise SettingsError(
            f"the issuer's host is {host!r}, but the app has subdomain_matching=True and SERVER_NAME={server_name!r}: "
            "set issuer to the URL of that host or of a subdomain"
        )
    return {"subdomain": host.removesuffix(server_name).rstrip(".")}


def do_not_trap_own_errors(app: Flask, is_own_request: Callable[[], bool]) -> None:
    """Return error responses at Valetkey's paths, although ``TRAP_HTTP_EXCEPTIONS`` would raise the exceptions.

    ``TRAP_BAD_REQUEST_ERRORS`` does so for status 400.
    """
    original = app.trap_http_exception

    def trap_http_exception(error: Exception) -> bool:
        return original(error) and not is_own_request()

    app.trap_http_exception = trap_http_exception  # type: ignore[assignment,method-assign]  # Flask documents to override it
