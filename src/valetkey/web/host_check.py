"""Check of the host that a request was sent to: the ``Host`` header, or what a trusted proxy says.

With the built-in default issuer, requests to Valetkey's endpoints, pages and guarded routes are refused with status 421
unless they were sent to a loopback host: the operator of a public server may have forgotten to set the issuer. With an
issuer that was set, every host is served, and the first one that is not the issuer's is logged.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import urlsplit

from flask import Flask, Response, request

from valetkey.rate_limiting.address import is_trusted_proxy
from valetkey.settings import Settings

from .error_handlers import is_own_path, refuse_host
from .wsgi import REFUSED_HOST_KEY, Environ, Headers, ResponseHook

_is_loopback = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE).fullmatch
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_MAX_LOGGED_CHARACTERS = 100
# Arguments of both: the host, the issuer, and the name of the setting.
_OTHER_HOST_WARNING = (
    "a request was sent to the host %s, but the issuer is %s: links, redirects and tokens lead to the issuer. "
    "If apps and users reach this server at that host, set %s to its URL; for a health check or an internal "
    "name, nothing needs to be done"
)
_REFUSED_HOST_WARNING = (
    "a request was sent to the host %s and refused with status 421: the issuer of this server is not set, and the "
    "default, %s, is served to 127.0.0.1, ::1 and localhost only; set %s to the URL of this server"
)
_log = logging.getLogger("valetkey")


class HostCheck:
    """The check of the host of requests to one app.

    :param issuer_name: what the operator must set to set the issuer, such as ``VALETKEY_ISSUER``.
    """

    def __init__(self, settings: Settings, issuer_name: str) -> None:
        self._settings = settings
        self._issuer_name = issuer_name
        self.issuer_host = urlsplit(settings.issuer).netloc
        self._is_logged = False

    def install(self, app: Flask) -> None:
        """Check the host of each request before the app's other ``before_request`` functions.

        Does nothing if the issuer is set: then ``response_hooks`` do it, because a ``before_request`` function costs
        2 us a request, and a response hook 0.3 us.
        """
        if self._settings.has_default_issuer:
            app.before_request_funcs.setdefault(None, []).insert(0, self._refuse_host)

    @property
    def response_hooks(self) -> list[ResponseHook]:
        """Functions for ``ResponseHookMiddleware``; empty if ``install`` added a ``before_request`` function."""
        return [] if self._settings.has_default_issuer else [self._check_mismatch]

    def would_refuse(self, environ: Environ) -> bool:
        """Return whether requests to Valetkey that were sent to the same host as this request are refused."""
        return self._settings.has_default_issuer and not self._is_local(environ)

    def refuses(self, environ: Environ) -> bool:
        """Return whether a request to Valetkey is refused because of its host; log the first one to another host."""
        is_refusal_possible = self._settings.has_default_issuer
        if environ.get("HTTP_HOST") == self.issuer_host and not (
            is_refusal_possible and "HTTP_X_FORWARDED_HOST" in environ
        ):
            return False  # the default issuer is a loopback host
        self.log_mismatch(environ)
        return is_refusal_possible and not self._is_local(environ)

    def log_mismatch(self, environ: Environ) -> None:
        """Log the first request that was sent to another host than the issuer's.

        Nothing is derived from that host: redirects, links and tokens contain the issuer.
        """
        if self._is_logged:
            return
        host = self._hosts(environ)[0]
        if self._is_issuer_host(host):
            return
        self._is_logged = True
        is_refused = self._settings.has_default_issuer and not self._is_local(environ)
        template = _REFUSED_HOST_WARNING if is_refused else _OTHER_HOST_WARNING
        _log.warning(template, ascii(host[:_MAX_LOGGED_CHARACTERS]), self._settings.issuer, self._issuer_name)

    def _is_issuer_host(self, host: str) -> bool:
        """Return whether a host is the issuer's; a loopback host without a port is that of any loopback issuer."""
        issuer = urlsplit(self._settings.issuer)
        if not self._settings.is_production and _is_loopback(host):
            port = host.rpartition("]")[2].partition(":")[2]
            return port in {"", str(issuer.port)}
        return host.lower().removesuffix(_DEFAULT_PORTS[issuer.scheme]) == self.issuer_host.lower()

    def _check_mismatch(self, environ: Environ, status: str, headers: Headers) -> None:
        is_mismatch = environ.get("HTTP_HOST") != self.issuer_host and not self._is_logged
        if is_mismatch and is_own_path(environ["PATH_INFO"], self._settings):
            self.log_mismatch(environ)

    def _refuse_host(self) -> Response | None:
        """Refuse a request to an endpoint or page of Valetkey; for guarded routes and errors, store the reason."""
        if is_own_path(request.path, self._settings):
            self.log_mismatch(request.environ)
        if self._is_local(request.environ):
            return None
        request.environ[REFUSED_HOST_KEY] = (
            "the issuer of this server is not set, so that only requests to 127.0.0.1, ::1 or localhost are served: "
            f"set {self._issuer_name} to the URL of this server, such as https://api.example.com"
        )
        return refuse_host(request.endpoint)

    def _is_local(self, environ: Environ) -> bool:
        return all(_is_loopback(host) for host in self._hosts(environ))

    def _hosts(self, environ: Environ) -> list[str]:
        """Return the hosts that a request names: at least one.

        ``X-Forwarded-Host`` replaces ``Host`` if it comes from a trusted proxy. From elsewhere, it is one host more: a
        caller can add it, but the header of a proxy that is not configured shows that the server is public.
        """
        forwarded = environ.get("HTTP_X_FORWARDED_HOST")
        forwarded_hosts = [host.strip() for host in forwarded.split(",")] if forwarded else []
        if forwarded_hosts and is_trusted_proxy(environ.get("REMOTE_ADDR"), self._settings.trusted_proxies):
            return forwarded_hosts
        return [environ.get("HTTP_HOST", ""), *forwarded_hosts]
