"""Adapters between WSGI and machine endpoints (those that return data, not pages).

There are two: a Flask view, and a WSGI middleware that runs before Flask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial

from flask import Flask, Response, request
from werkzeug.http import HTTP_STATUS_CODES

from valetkey.dispatch import dispatch
from valetkey.endpoint import Endpoint, MachineRequest
from valetkey.runtime import Runtime
from valetkey.settings import Settings

from .context import address_of, current_runtime
from .flask_bypass import FlaskBypass
from .host_check import HostCheck
from .middleware import Middleware
from .page_headers import enforce_endpoint_headers
from .request_body import read_body
from .security_headers import security_headers
from .wsgi import FAILURE_KEY, Environ, StartResponse

_HANDLED_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
_STATUS_LINES = {status: f"{status} {phrase.upper()}" for status, phrase in HTTP_STATUS_CODES.items()}  # as Flask does
_NO_ENDPOINT: tuple[str, Endpoint | None] = ("", None)


def machine_view(endpoint: Endpoint) -> Callable[..., Response]:
    """Return a Flask view for a machine endpoint (one that returns data, not a page).

    The values of variable parts of its URL rule become ``path_parameters`` of the request.
    """

    def view(**path_parameters: str) -> Response:
        environ, runtime = request.environ, current_runtime()
        failure: Exception | None = environ.pop(FAILURE_KEY, None)
        if failure is not None:
            raise failure
        result = dispatch(runtime, endpoint, _read_request(environ, runtime.settings, path_parameters))
        response = Response(result.body, result.status, list(result.headers))
        if result.status == 204:
            del response.headers["Content-Type"]  # Flask's default; there is no content
        if "HTTP_IF_NONE_MATCH" in environ and "ETag" in response.headers:
            response.make_conditional(environ)
        enforce_endpoint_headers(response)
        return response

    view.__name__ = view.__qualname__ = endpoint.name.replace("-", "_")
    return view


class EndpointMiddleware(Middleware):
    """Handles requests to machine endpoints without Flask, which saves 60 us a request.

    HEAD, OPTIONS, conditional requests, and requests for which Flask would call something of the host app's are passed
    on to Flask. If an endpoint raises an unexpected exception, Flask's view raises it again, so that Flask logs it and
    calls the host's error handlers.

    Order: outside of all middleware but ``IssuerPathMiddleware``: ``dispatch`` makes complete responses, which need no
    response hook, and a request to another path costs one look-up here.

    :param endpoints: the machine endpoints by their full paths, each after its name in Flask.
    :param host_check: the check of the app's hosts.
    """

    def __init__(
        self,
        app: Flask,
        runtime: Runtime,
        endpoints: Mapping[str, tuple[str, Endpoint]],
        host_check: HostCheck,
        bypass: FlaskBypass,
    ) -> None:
        self._app = app
        self._runtime = runtime
        self._endpoints = endpoints
        self._host_check = host_check
        self._bypass = bypass
        self._security_headers = security_headers(runtime.settings.issuer)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        name, endpoint = self._endpoints.get(environ["PATH_INFO"], _NO_ENDPOINT)
        if endpoint is None or self._needs_flask(environ, name):
            return self.inner(environ, start_response)
        # An endpoint may call the host's code for resource owners, which may need the request.
        context = nullcontext() if self._runtime.has_built_in_accounts else self._app.request_context(environ)
        try:
            with context:
                response = dispatch(self._runtime, endpoint, _read_request(environ, self._runtime.settings, {}))
        except Exception as failure:
            environ[FAILURE_KEY] = failure
            return self.inner(environ, start_response)
        length = () if response.status == 204 else (("Content-Length", str(len(response.body))),)  # RFC 9110 §8.6
        start_response(_STATUS_LINES[response.status], [*response.headers, *length, *self._security_headers])
        return [response.body]

    def _needs_flask(self, environ: Environ, name: str) -> bool:
        return (
            environ["REQUEST_METHOD"] not in _HANDLED_METHODS
            or "HTTP_IF_NONE_MATCH" in environ
            or self._bypass.needs_flask(environ, name)
            or self._host_check.refuses(environ)
        )


def _read_request(environ: Environ, settings: Settings, path_parameters: Mapping[str, str]) -> MachineRequest:
    return MachineRequest(
        method=environ["REQUEST_METHOD"],
        read_body=partial(read_body, environ),
        content_type=environ.get("CONTENT_TYPE", ""),
        authorization=environ.get("HTTP_AUTHORIZATION"),
        address=address_of(environ, settings.trusted_proxies),
        query=environ.get("QUERY_STRING", ""),
        requested_headers=environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""),
        path_parameters=path_parameters,
    )
