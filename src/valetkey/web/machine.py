"""Machine endpoints as Flask views: the thin adapter between a WSGI request and plain values."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from valetkey.runtime import Endpoint, MachineRequest, dispatch

from .state import current_address, current_runtime

_MOST_READ = 65_537  # one byte more than is allowed, so that too large is told from large enough


def machine_view(endpoint: Endpoint) -> Callable[[], Response]:
    """A Flask view that answers for a machine endpoint."""

    def view() -> Response:
        runtime = current_runtime()
        environ = request.environ
        answer = dispatch(
            runtime,
            endpoint,
            MachineRequest(
                method=environ["REQUEST_METHOD"],
                body=_body() if environ["REQUEST_METHOD"] == "POST" else b"",
                content_type=environ.get("CONTENT_TYPE", ""),
                authorization=environ.get("HTTP_AUTHORIZATION"),
                address=current_address(runtime),
            ),
        )
        return Response(answer.body, answer.status, list(answer.headers))

    view.__name__ = view.__qualname__ = endpoint.name.replace("-", "_")
    return view


def _body() -> bytes:
    length = request.content_length
    if length is not None and length >= _MOST_READ:
        return bytes(_MOST_READ)  # not read: the dispatch refuses it by its size
    return request.stream.read(_MOST_READ)
