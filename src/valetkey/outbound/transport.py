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
from .errors import FetchFailed
from .fetch_limits import Deadline, HostSemaphore
from .safe_resolver import SafeResolver

MAX_HEADER_BYTES = 32_768
_CHUNK_BYTES = 16_384


class SafeTransport(httpx.BaseTransport):
    """What httpx sends by. ``deadline`` and ``max_bytes`` in a request's extensions bound it further.

    :raises FetchProblem: in place of httpx's own errors.
    """

    def __init__(
        self,
        resolver: SafeResolver,
        host_semaphore: HostSemaphore,
        get_tls_context: Callable[[], ssl.SSLContext],
        timeout_s: float,
        max_bytes: int,
    ) -> None:
        self._resolver = resolver
        self._host_semaphore = host_semaphore
        self._get_tls_context = get_tls_context
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline: Deadline = request.extensions.get("deadline") or Deadline.within(self._timeout_s)
        max_bytes: int = request.extensions.get("max_bytes") or self._max_bytes
        host = request.url.host
        try:
            with self._host_semaphore.acquire(host, deadline):
                addresses = self._resolver.find_addresses(str(request.url), deadline)
                return self._exchange(
                    request, _PinnedBackend(addresses, deadline, MAX_HEADER_BYTES + 2 * max_bytes), max_bytes
                )
        except TimeoutError as cause:
            raise FetchFailed(f"{host} did not answer within {deadline.timeout_s:g} seconds") from cause
        except ssl.SSLCertVerificationError as cause:
            raise FetchFailed(f"the certificate of {host} is not trusted: {cause.verify_message}") from cause
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as cause:
            raise FetchFailed(f"{host} cannot be asked: {type(cause).__name__}") from cause

    def _exchange(self, request: httpx.Request, backend: _PinnedBackend, max_bytes: int) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        headers = httpx.Headers(request.headers)
        headers["Accept-Encoding"] = "identity"  # what is not compressed cannot be a bomb
        headers["Connection"] = "close"
        tls = self._get_tls_context() if request.url.scheme == "https" else None
        connection = httpcore.HTTPConnection(url.origin, ssl_context=tls, network_backend=backend)
        try:
            sent = connection.stream(request.method, url, headers=headers.raw, content=request.read() or None)
            with sent as answer:
                got = httpx.Headers(answer.headers)
                _check_headers(request.url.host, got, max_bytes)
                return httpx.Response(
                    answer.status, headers=got, content=_read_body(request.url.host, answer, max_bytes)
                )
        finally:
            connection.close()


def _check_headers(host: str, headers: httpx.Headers, max_bytes: int) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADER_BYTES:
        raise FetchFailed(f"{host} answered with headers of more than {MAX_HEADER_BYTES} bytes")
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise FetchFailed(f"{host} answered in a content coding, although identity was asked for")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise FetchFailed(f"{host} answered with more than {max_bytes} bytes")


def _read_body(host: str, response: httpcore.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise FetchFailed(f"{host} answered with more than {max_bytes} bytes")
    return bytes(body)


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the first of the judged addresses that answers, whatever host is named to it."""

    def __init__(self, addresses: list[Address], deadline: Deadline, max_bytes: int) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._max_bytes = max_bytes

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
            share = self._deadline.remaining_s() / (len(self._addresses) - number)
            try:
                connected = socket.create_connection((str(address), port), share)
            except OSError as cause:
                problem = cause
            else:
                return _Stream(connected, self._deadline, self._max_bytes)
        raise problem


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline, and which reads so many bytes and no more."""

    def __init__(self, connected_socket: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        self._socket = connected_socket
        self._deadline = deadline
        self._bytes_left = max_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._deadline.remaining_s())
        data = self._socket.recv(min(max_bytes, _CHUNK_BYTES))
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise httpcore.RemoteProtocolError("the answer is too large")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        while buffer:
            self._socket.settimeout(self._deadline.remaining_s())
            buffer = buffer[self._socket.send(buffer[:_CHUNK_BYTES]) :]

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._socket.settimeout(self._deadline.remaining_s())
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        return None

    def close(self) -> None:
        self._socket.close()
