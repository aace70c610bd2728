"""WSGI adapter of ``authorize``: redirects a signed-in browser to the client without entering Flask.

Flask takes 250 of the 600 us of an authorization request that needs no page: without this middleware, row P6 of the
benchmarks (code flow) takes 5 % more CPU time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, lru_cache, partial

from werkzeug.urls import iri_to_uri

from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.web import cookies
from valetkey.web.flask_bypass import FlaskBypass
from valetkey.web.host_check import HostCheck
from valetkey.web.middleware import Middleware
from valetkey.web.page_headers import PAGE_HEADERS_KEY
from valetkey.web.resource_owners import BuiltInAccounts
from valetkey.web.wsgi import Environ, StartResponse

from .decision import Decision, IncomingRequest, Issue, authorize

_ENDPOINT = "valetkey_authorization_server.authorization_view"  # name of the view in Flask
_OUTCOME_KEY = "valetkey.authorization"  # in the WSGI environment: the decision, or the exception that was raised
_log = logging.getLogger("valetkey")


class AuthorizeMiddleware(Middleware):
    """Decides about authorization requests of browsers with a session cookie.

    If a code is issued and sent by a redirect, it responds. Otherwise Flask's view responds with the decision, so that
    a request is checked once. If Flask would call something of the host app's, the view decides.

    Order: inside of ``ResponseHookMiddleware``, which adds the security headers of pages.

    :param path: the path of the authorization endpoint.
    """

    def __init__(
        self, runtime: Runtime, owners: BuiltInAccounts, path: str, host_check: HostCheck, bypass: FlaskBypass
    ) -> None:
        self._host_check = host_check
        self._bypass = bypass
        self._runtime = runtime
        self._owners = owners
        self._path = path

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        is_authorization_request = environ["PATH_INFO"] == self._path and environ["REQUEST_METHOD"] == "GET"
        if not is_authorization_request or not self._runtime.is_ready:
            return self.inner(environ, start_response)
        session = cookies.session_secret_of(environ, self._runtime.settings)
        if session is None or self._bypass.needs_flask(environ, _ENDPOINT) or self._host_check.refuses(environ):
            return self.inner(environ, start_response)
        outcome = self._decide(environ, session)
        if isinstance(outcome, Issue) and outcome.response.response_mode == "query":
            response = replace(outcome.response, redirect_uri=_encode_redirect_uri(outcome.response.redirect_uri))
            environ[PAGE_HEADERS_KEY] = {}
            headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "0")]
            start_response("303 SEE OTHER", [*headers, ("Location", response.location())])
            return []
        environ[_OUTCOME_KEY] = outcome
        try:
            return self.inner(environ, start_response)
        finally:
            unused = environ.pop(_OUTCOME_KEY, None)  # a hook of the host responded instead of the view
            if isinstance(unused, Exception):
                _log.error("an authorization request failed", exc_info=unused)

    def _decide(self, environ: Environ, session: Secret) -> Decision | Exception:
        """Return the decision about a request, or the exception that ``take_decision`` raises in the view."""
        find_owner = cache(partial(self._owners.find_by_session, session))
        query = environ.get("QUERY_STRING", "")
        try:
            return authorize(IncomingRequest(query, session, find_owner, self._runtime.clock()), self._runtime)
        except Exception as error:  # the view raises it, so that Flask logs it and shows the error page
            return error


def take_decision(environ: Environ) -> Decision | None:
    """Return the decision that the middleware made about this request, once; ``None`` if it made none.

    :raises Exception: the exception that the middleware caught, such as ``BackendUnavailable``.
    """
    outcome: Decision | Exception | None = environ.pop(_OUTCOME_KEY, None)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@lru_cache(maxsize=1024)
def _encode_redirect_uri(redirect_uri: str) -> str:
    """Encode a redirect URI as Flask encodes a Location header. Never raises, because the code was issued already."""
    try:
        return iri_to_uri(redirect_uri)
    except UnicodeError:  # registered before such hosts were rejected
        return redirect_uri
