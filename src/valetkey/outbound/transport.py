"""httpx transport with SSRF protection: HTTP/1.1 to allowed addresses only, with limits of time and size.

A connection serves one request. It is made to an IP address that was checked, so the host name is not resolved again;
the certificate check, SNI and the ``Host`` header use the name. Proxies, cookies and ``.netrc`` are not used.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from .addresses import Address
from .errors import FetchFailed, UnusableResponse
from .fetch_limits import Deadline, HostSemaphore
from .safe_resolver import SafeResolver

MAX_HEADER_BYTES = 32_768
_CHUNK_BYTES = 16_384


class SafeTransport(httpx.BaseTransport):
    """Transport with SSRF protection for ``httpx.Client``. Raises ``FetchError`` in place of httpx's own errors.

    :param resolver: returns the IP addresses to which a request may connect.
    :param host_semaphore: limits concurrent requests, in total and per host.
    :param get_tls_context: returns the TLS context; called for https only.
    :param timeout_s: seconds for a request, unless ``request.extensions`` has a ``deadline`` (``Deadline``).
    :param max_bytes: maximum size of a response body, unless ``request.extensions`` has ``max_bytes``.
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
        """Send a request, and return the response with its whole body.

        :raises FetchRefused: if the URL is invalid, or leads to an address that is not allowed.
        :raises FetchFailed: if there is no usable response within the limits of time and size.
        """
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
            raise FetchFailed(f"{host} did not respond within {deadline.timeout_s:g} seconds") from cause
        except ssl.SSLCertVerificationError as cause:
            raise FetchFailed(f"the certificate of {host} is not trusted: {cause.verify_message}") from cause
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as cause:
            raise FetchFailed(f"the connection to {host} failed: {type(cause).__name__}") from cause

    def _exchange(self, request: httpx.Request, backend: _PinnedBackend, max_bytes: int) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        headers = httpx.Headers(request.headers)
        headers["Accept-Encoding"] = "identity"  # prevents decompression bombs
        headers["Connection"] = "close"
        tls = self._get_tls_context() if request.url.scheme == "https" else None
        connection = httpcore.HTTPConnection(url.origin, ssl_context=tls, network_backend=backend)
        try:
            stream = connection.stream(request.method, url, headers=headers.raw, content=request.read() or None)
            with stream as response:
                response_headers = httpx.Headers(response.headers)
                _check_headers(request.url.host, response_headers, max_bytes)
                body = _read_body(request.url.host, response, max_bytes)
                return httpx.Response(response.status, headers=response_headers, content=body)
        finally:
            connection.close()


def _check_headers(host: str, headers: httpx.Headers, max_bytes: int) -> None:
    """Check a response before its body is read: the size of the headers, the content coding and the announced length.

    :raises UnusableResponse: if one of them is not acceptable.
    """
    if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADER_BYTES:
        raise UnusableResponse(f"the response of {host} has headers of more than {MAX_HEADER_BYTES} bytes")
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnusableResponse(f"the response of {host} has a content coding, although identity was requested")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise UnusableResponse(f"the response of {host} has more than {max_bytes} bytes")


def _read_body(host: str, response: httpcore.Response, max_bytes: int) -> bytes:
    """Read and return the response body; raise ``UnusableResponse`` as soon as it has more than ``max_bytes``."""
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise UnusableResponse(f"the response of {host} has more than {max_bytes} bytes")
    return bytes(body)


class _PinnedBackend(httpcore.NetworkBackend):
    """Network backend of httpcore that connects only to the checked IP addresses, whatever host it is called with.

    It uses the first address that accepts the connection.

    :param max_bytes: maximum number of bytes that a connection reads, headers and chunk framing included.
    """

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
        """Return a connection to the first of the checked addresses that accepts it.

        All arguments but ``port`` are ignored. The addresses are tried in turn; each gets an equal share of the time
        until the deadline.

        :raises OSError: if no address accepts the connection; it is the error of the last address.
        """
        error: OSError = TimeoutError()
        for index, address in enumerate(self._addresses):
            timeout_s = self._deadline.remaining_s() / (len(self._addresses) - index)
            try:
                connected_socket = socket.create_connection((str(address), port), timeout_s)
            except OSError as cause:
                error = cause
            else:
                return _Stream(connected_socket, self._deadline, self._max_bytes)
        raise error


class _Stream(httpcore.NetworkStream):
    """Network stream of httpcore whose operations end at the deadline, and which reads at most ``max_bytes``.

    :raises TimeoutError: from each operation, if the deadline passes.
    """

    def __init__(self, connected_socket: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        self._socket = connected_socket
        self._deadline = deadline
        self._bytes_left = max_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._deadline.remaining_s())
        data = self._socket.recv(min(max_bytes, _CHUNK_BYTES))
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise httpcore.RemoteProtocolError("the response is too large")
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
