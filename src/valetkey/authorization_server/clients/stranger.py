"""Redirects of users who are not signed in (RFC 9700 §4.11.2): which ones need a click of the user."""

from __future__ import annotations

from urllib.parse import urlsplit

from valetkey.protocol.uri import is_loopback_host
from valetkey.runtime import Runtime
from valetkey.storage import registrations


def needs_click(client_id: str, uri: str, runtime: Runtime, now: float) -> bool:
    """Return whether a user who is not signed in may be sent to a client's URI only by a click on a link.

    It is so for clients that registered themselves, by dynamic registration or with a metadata document: anyone can
    do that, and then send others a link to this server that ends at a page of the attacker. A loopback address leads
    to a program on the user's own device, so it needs no click.

    :raises StoreUnavailable: if the store cannot be read.
    """
    if is_loopback_host(urlsplit(uri).hostname):
        return False
    if runtime.clients.uses_metadata_document(client_id, now):
        return True
    return registrations.find(runtime.store, client_id) is not None
