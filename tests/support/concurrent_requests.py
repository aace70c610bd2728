"""Many requests at the same moment, over raw sockets."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlencode

TIMEOUT_S = 30  # seconds: all must have been answered by then


@dataclass(frozen=True)
class RawRequest:
    """One HTTP request as bytes, and the port of 127.0.0.1 that it goes to."""

    port: int
    content: bytes


@dataclass(frozen=True)
class RawResponse:
    """What came back: status, body and header fields (names in lower case)."""

    status: int
    body: bytes
    headers: dict[str, str]


def post_request(
    port: int,
    path: str,
    fields: Sequence[tuple[str, str]],
    *,
    auth: tuple[str, str] | None = None,
    cookie: str | None = None,
) -> RawRequest:
    """A form sent by POST, on a connection of its own."""
    body = urlencode(fields)
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    if auth:
        lines.append(f"Authorization: Basic {b64encode(':'.join(auth).encode()).decode()}")
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return RawRequest(port, "\r\n".join([*lines, "", body]).encode())


def send_together(requests: Sequence[RawRequest]) -> list[RawResponse]:
    """Send all requests within a few milliseconds and answer their answers, in the same order.

    :raises OSError: where one gets no answer.
    """
    with send_without_reading(requests) as connections:
        return [read_response(connection) for connection in connections]


@contextmanager
def send_without_reading(requests: Sequence[RawRequest]) -> Iterator[list[socket.socket]]:
    """The connections of requests that were sent within a few milliseconds, their answers unread.

    Each waits, complete but for its last byte, until all are connected.
    """
    with ExitStack() as stack:
        connections = []
        for request in requests:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", request.port), TIMEOUT_S))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(request.content[:-1])
            connections.append(connection)
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request.content[-1:])
        yield connections


def read_response(connection: socket.socket) -> RawResponse:
    """The whole answer on a connection.

    :raises OSError: where the server has gone before it was complete.
    """
    response = HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (HTTPException, IncompleteRead) as cause:
        raise ConnectionResetError("the answer is not complete") from cause
    return RawResponse(response.status, body, {name.lower(): value for name, value in response.getheaders()})
