"""Machine endpoints under WSGI: as Flask views, or at the app's border, before Flask sees the request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, request
from werkzeug.wsgi import get_input_stream

from valetkey.dispatch import dispatch, refusal_response
from valetkey.endpoint import Endpoint, MachineRequest, MachineResponse
from valetkey.protocol.errors import ServerError
from valetkey.runtime import Runtime

from .context import address_of, current_runtime
from .wsgi import Environ

_MAX_READ_BYTES = 65_537  # one byte more than is allowed, so that too large is told from large enough
_METHODS_WITH_BODY = frozenset({"POST", "PUT"})
_HANDLED_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_log = logging.getLogger("valetkey")


def machine_view(endpoint: Endpoint) -> Callable[..., Response]:
    """A Flask view that answers for a machine endpoint."""

    def view(**named: str) -> Response:
        environ, runtime = request.environ, current_runtime()
        answer = dispatch(runtime, endpoint, _read_request(environ, runtime, _read_body_in_view, named))
        response = Response(answer.body, answer.status, list(answer.headers))
        if "HTTP_IF_NONE_MATCH" in environ and "ETag" in response.headers:
            response.make_conditional(environ)
        return response

    view.__name__ = view.__qualname__ = endpoint.name.replace("-", "_")
    return view


def serve_before_flask(app: Flask, runtime: Runtime, endpoints: Mapping[str, Endpoint]) -> None:
    """Answer machine endpoints, found by their whole path, at the app's border: Flask alone would cost 60 us more.

    What needs more than the endpoint's own answer (HEAD, OPTIONS, a conditional request, an app that trusts some
    hosts only) goes on to Flask.
    """
    inner = app.wsgi_app
    # An endpoint may ask a host for its people, whose code may need the app.
    within = nullcontext if runtime.has_built_in_accounts else app.app_context

    def endpoint_middleware(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        endpoint = endpoints.get(environ["PATH_INFO"])
        goes_on = environ["REQUEST_METHOD"] not in _HANDLED_METHODS or "HTTP_IF_NONE_MATCH" in environ
        if endpoint is None or goes_on or app.config.get("TRUSTED_HOSTS"):
            return inner(environ, start_response)
        asked = _read_request(environ, runtime, _read_body, {})
        with within():
            answer = _dispatch_or_log(runtime, endpoint, asked)
        length = () if answer.status == 204 else (("Content-Length", str(len(answer.body))),)  # RFC 9110 §8.6
        start_response(_STATUS_LINES[answer.status], [*answer.headers, *length])
        return [answer.body]

    app.wsgi_app = endpoint_middleware  # type: ignore[method-assign]  # as Flask's documentation does


def _dispatch_or_log(runtime: Runtime, endpoint: Endpoint, machine_request: MachineRequest) -> MachineResponse:
    try:
        return dispatch(runtime, endpoint, machine_request)
    except Exception:
        _log.exception("%s failed", endpoint.name)
        return refusal_response(ServerError("the server failed; its log has the reference"), endpoint, machine_request)


def _read_request(
    environ: Environ, runtime: Runtime, read_body: Callable[[Environ], bytes], path_parameters: Mapping[str, str]
) -> MachineRequest:
    method = environ["REQUEST_METHOD"]
    return MachineRequest(
        method=method,
        body=read_body(environ) if method in _METHODS_WITH_BODY else b"",
        content_type=environ.get("CONTENT_TYPE", ""),
        authorization=environ.get("HTTP_AUTHORIZATION"),
        address=address_of(environ, runtime),
        query=environ.get("QUERY_STRING", ""),
        path_parameters=path_parameters,
    )


def _read_body_in_view(environ: Environ) -> bytes:
    if "form" in vars(request):  # a hook of the host's has parsed and so consumed it
        return urlencode(list(request.form.items(multi=True))).encode()
    return _read_body(environ)


def _read_body(environ: Environ) -> bytes:
    """The request's body, read as it came: 10 us less than by Flask's own stream."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return get_input_stream(environ).read(_MAX_READ_BYTES)
    if int(length) >= _MAX_READ_BYTES:
        return bytes(_MAX_READ_BYTES)  # not read: the dispatch refuses it by its size
    return bytes(environ["wsgi.input"].read(int(length)))
