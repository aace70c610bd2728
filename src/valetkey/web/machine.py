"""Machine endpoints as Flask views: the thin adapter between a WSGI request and plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from valetkey.dispatch import dispatch
from valetkey.runtime import Endpoint, MachineRequest

from .state import current_address, current_runtime

_MOST_READ = 65_537  # one byte more than is allowed, so that too large is told from large enough


def machine_view(endpoint: Endpoint) -> Callable[[], Response]:
    """A Flask view that answers for a machine endpoint."""

    def view(**named: str) -> Response:
        runtime = current_runtime()
        environ = request.environ
        answer = dispatch(
            runtime,
            endpoint,
            MachineRequest(
                method=environ["REQUEST_METHOD"],
                body=_body(environ) if environ["REQUEST_METHOD"] in {"POST", "PUT"} else b"",
                content_type=environ.get("CONTENT_TYPE", ""),
                authorization=environ.get("HTTP_AUTHORIZATION"),
                address=current_address(runtime),
                query=environ.get("QUERY_STRING", ""),
                named=named,
            ),
        )
        response = Response(answer.body, answer.status, list(answer.headers))
        if "HTTP_IF_NONE_MATCH" in environ and "ETag" in response.headers:
            response.make_conditional(environ)
        return response

    view.__name__ = view.__qualname__ = endpoint.name.replace("-", "_")
    return view


def _body(environ: dict[str, Any]) -> bytes:
    """The request's body, read as it came: 10 us less than by the request's own stream."""
    if "form" in vars(request):  # a hook of the host's has parsed and so consumed it
        return urlencode(list(request.form.items(multi=True))).encode()
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        return request.stream.read(_MOST_READ)
    if int(length) >= _MOST_READ:
        return bytes(_MOST_READ)  # not read: the dispatch refuses it by its size
    return bytes(environ["wsgi.input"].read(int(length)))
