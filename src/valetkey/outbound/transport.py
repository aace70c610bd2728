"""HTTP/1.1 to judged addresses only, within a deadline and a size: the one way out, for our fetches and for httpx.

A connection serves one request. It is made to an address, never to a name; the name is what the certificate, SNI
and ``Host`` are held to. No proxy, cookie or ``.netrc`` is looked at.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from .addresses import Address
from .bounds import Deadline, FetchFailed, Turns
from .safe_resolver import Guard

LARGEST_HEADERS = 32_768
_PIECE = 16_384


class GuardedTransport(httpx.BaseTransport):
    """What httpx sends by. ``deadline`` and ``max_bytes`` in a request's extensions bound it further.

    :raises FetchProblem: in place of httpx's own errors.
    """

    def __init__(
        self, guard: Guard, turns: Turns, tls: Callable[[], ssl.SSLContext], seconds: float, max_bytes: int
    ) -> None:
        self._guard = guard
        self._turns = turns
        self._tls = tls
        self._seconds = seconds
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline: Deadline = request.extensions.get("deadline") or Deadline.within(self._seconds)
        max_bytes: int = request.extensions.get("max_bytes") or self._max_bytes
        host = request.url.host
        try:
            with self._turns.take(host, deadline):
                addresses = self._guard.find_addresses(str(request.url), deadline)
                return self._exchange(request, _Way(addresses, deadline, LARGEST_HEADERS + 2 * max_bytes), max_bytes)
        except TimeoutError as cause:
            raise FetchFailed(f"{host} did not answer within {deadline.seconds:g} seconds") from cause
        except ssl.SSLCertVerificationError as cause:
            raise FetchFailed(f"the certificate of {host} is not trusted: {cause.verify_message}") from cause
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as cause:
            raise FetchFailed(f"{host} cannot be asked: {type(cause).__name__}") from cause

    def _exchange(self, request: httpx.Request, way: _Way, max_bytes: int) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        headers = httpx.Headers(request.headers)
        headers["Accept-Encoding"] = "identity"  # what is not compressed cannot be a bomb
        headers["Connection"] = "close"
        tls = self._tls() if request.url.scheme == "https" else None
        connection = httpcore.HTTPConnection(url.origin, ssl_context=tls, network_backend=way)
        try:
            sent = connection.stream(request.method, url, headers=headers.raw, content=request.read() or None)
            with sent as answer:
                got = httpx.Headers(answer.headers)
                _check_headers(request.url.host, got, max_bytes)
                return httpx.Response(answer.status, headers=got, content=_body(request.url.host, answer, max_bytes))
        finally:
            connection.close()


def _check_headers(host: str, headers: httpx.Headers, max_bytes: int) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEADERS:
        raise FetchFailed(f"{host} answered with headers of more than {LARGEST_HEADERS} bytes")
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise FetchFailed(f"{host} answered in a content coding, although identity was asked for")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise FetchFailed(f"{host} answered with more than {max_bytes} bytes")


def _body(host: str, answer: httpcore.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"{host} answered with more than {max_bytes} bytes")
    return bytes(body)


class _Way(httpcore.NetworkBackend):
    """Connects to the first of the judged addresses that answers, whatever host is named to it."""

    def __init__(self, addresses: list[Address], deadline: Deadline, most_bytes: int) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._most_bytes = most_bytes

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        problem: OSError = TimeoutError()
        for number, address in enumerate(self._addresses):
            share = self._deadline.left() / (len(self._addresses) - number)
            try:
                connected = socket.create_connection((str(address), port), share)
            except OSError as cause:
                problem = cause
            else:
                return _Stream(connected, self._deadline, self._most_bytes)
        raise problem


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline, and which reads so many bytes and no more."""

    def __init__(self, connected: socket.socket, deadline: Deadline, most_bytes: int) -> None:
        self._socket = connected
        self._deadline = deadline
        self._left = most_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._deadline.left())
        data = self._socket.recv(min(max_bytes, _PIECE))
        self._left -= len(data)
        if self._left < 0:
            raise httpcore.RemoteProtocolError("the answer is too large")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            self._socket.settimeout(self._deadline.left())
            buffer = buffer[self._socket.send(buffer[:_PIECE]) :]

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(self._deadline.left())
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        return None

    def close(self) -> None:
        self._socket.close()
