"""Many requests at the same moment, over raw sockets."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlencode

TIMEOUT_S = 30  # for a connection and for each read


@dataclass(frozen=True)
class RawRequest:
    """An HTTP request as bytes, and the port of 127.0.0.1 to which it is sent."""

    port: int
    content: bytes


@dataclass(frozen=True)
class RawResponse:
    """Status, body and header fields (names in lower case) of an HTTP response."""

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
    """Return a POST request with a form as its body. Its connection is used for no other request."""
    body = urlencode(fields)
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    if auth:
        lines.append(f"Authorization: Basic {b64encode(':'.join(auth).encode()).decode()}")
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return RawRequest(port, "\r\n".join([*lines, "", body]).encode())


def get_request(port: int, path_and_query: str, *, cookie: str) -> RawRequest:
    """Return a GET request with cookies. Its connection is used for no other request."""
    lines = [f"GET {path_and_query} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", f"Cookie: {cookie}"]
    return RawRequest(port, "\r\n".join([*lines, "", ""]).encode())


def send_together(requests: Sequence[RawRequest]) -> list[RawResponse]:
    """Send all requests within a few milliseconds. Return the responses in the order of the requests.

    :raises OSError: if a request gets no complete response.
    """
    with send_without_reading(requests) as connections:
        return [read_response(connection) for connection in connections]


@contextmanager
def send_without_reading(requests: Sequence[RawRequest]) -> Iterator[list[socket.socket]]:
    """Send all requests within a few milliseconds. Yield their connections; no response has been read.

    All but the last byte of each request is sent first; the last bytes follow when all connections are open.
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
    """Read the whole response on a connection.

    :raises OSError: if the server closes the connection before the response is complete.
    """
    response = HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (HTTPException, IncompleteRead) as cause:
        raise ConnectionResetError("the response is incomplete") from cause
    return RawResponse(response.status, body, {name.lower(): value for name, value in response.getheaders()})
