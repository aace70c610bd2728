"""Check the address, port and certificate of ``valetkey serve`` before the server starts."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import click


def resolve_bind_address(host: str, port: int) -> str:
    """Return the IP address to listen on for ``--host``, preferring IPv4, after checking that the port is free.

    :raises click.ClickException: if the host does not exist or the port is in use; the message says what to do.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as cause:
        raise click.ClickException(
            f"unknown host {host!r}: give --host an address of this machine, like 127.0.0.1 or 0.0.0.0"
        ) from cause
    family, *_, address = min(addresses, key=lambda info: info[0] != socket.AF_INET)
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as cause:
            raise click.ClickException(
                f"port {port} on {host} cannot be used ({cause.strerror}): choose another with --port"
            ) from cause
    return str(address[0])


def check_certificate(cert: Path, key: Path) -> None:
    """Check that a server can use a certificate chain and its private key.

    A key with a passphrase is refused: each server process would ask for the passphrase.

    :param cert: file with the certificate chain (PEM).
    :param key: file with the private key (PEM).
    :raises click.ClickException: if the files cannot be used; the message says what is needed.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError) as cause:
        raise click.ClickException(
            f"{cert} and {key} cannot be used: --tls-cert takes a certificate chain and --tls-key its private key, "
            "both PEM, the key without a passphrase"
        ) from cause
