"""Servers on loopback addresses that misbehave on purpose, and certificates for them."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behaviour = Callable[["HostileServer", socket.socket], None]
StartHostileServer = Callable[..., "HostileServer"]  # the fixture start_hostile_server: (behaviour, address, tls)


class HostileServer:
    """A TCP server that reads a request on each connection, records it, and then calls ``behaviour``.

    :ivar requests: the requests, as bytes.
    :ivar sni_names: the server name of each TLS handshake (RFC 6066 §3), ``None`` if the client sent none.
    """

    def __init__(self, behaviour: Behaviour, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.sni_names: list[str | None] = []
        self.stopping = threading.Event()
        self.address = address
        self._behaviour = behaviour
        self._tls = tls
        if tls:
            tls.sni_callback = lambda connection, name, context: self.sni_names.append(name)
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        """Return a URL of this server, with its address or with another host name."""
        return f"{'https' if self._tls else 'http'}://{host or self.address}:{self.port}{path}"

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _listen(self) -> None:
        while not self.stopping.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(3)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self.requests.append(read_request(connection))
                self._behaviour(self, connection)


def read_request(connection: socket.socket) -> bytes:
    """Read a request: its head, and as much of the body as Content-Length says."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65536)):
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def respond_with(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> Behaviour:
    """Send a correct response. Underscores in the names of headers become hyphens."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return lambda server, connection: connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def respond_after(event: threading.Event) -> Behaviour:
    """Send a correct response when the event is set, or after 5 seconds."""

    def behave(server: HostileServer, connection: socket.socket) -> None:
        event.wait(5)
        respond_with()(server, connection)

    return behave


def redirect_to(location: str, status: str = "302 Found") -> Behaviour:
    """Send a redirect."""
    return respond_with(b"", status, Location=location)


def drip(head: bytes, piece: bytes) -> Behaviour:
    """Send ``head``, then ``piece`` twenty times a second without end: no single read waits for long."""

    def behave(server: HostileServer, connection: socket.socket) -> None:
        connection.sendall(head)
        while not server.stopping.wait(0.05):
            connection.sendall(piece)

    return behave


def flood(head: bytes, piece: bytes, times: int) -> Behaviour:
    """Send ``head``, then ``piece`` so many times, as fast as the client reads."""

    def behave(server: HostileServer, connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(times):
            connection.sendall(piece)

    return behave


def never_respond(server: HostileServer, connection: socket.socket) -> None:
    """Leave the connection open for 5 seconds and send nothing."""
    server.stopping.wait(5)


def gzip_bomb(megabytes: int) -> bytes:
    """Return zeros that are so many megabytes long after decompression."""
    return gzip.compress(bytes(megabytes * 1_000_000))


def create_server_certificate(folder: Path, names: Iterable[str]) -> tuple[ssl.SSLContext, Path]:
    """Create a self-signed certificate for these names and IP addresses.

    Return the TLS context of a server that uses it, and the path of a CA file with which a client trusts it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hostile")])
    now = datetime.now(UTC)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_and_certificate = folder / "authority.pem", folder / "both.pem"
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    ca_file.write_bytes(pem)
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_and_certificate.write_bytes(private_key + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    return context, ca_file


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
