"""TLS contexts of outgoing connections (HTTP and mail): certificates and host names are verified."""

from __future__ import annotations

import ssl


class UnusableCaFile(Exception):
    """The file of the setting ``outbound_ca_file`` cannot be read, or contains no certificate."""


def make_tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS context for a client.

    :param ca_file: PEM file of certificate authorities that are trusted besides the system's; ``None`` for no others.
    :raises UnusableCaFile: if the file cannot be read, or contains no certificate.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as cause:  # also ssl.SSLError
            raise UnusableCaFile(
                "outbound_ca_file cannot be read, or contains no certificate; set it to a PEM file of certificates"
            ) from cause
    return context
