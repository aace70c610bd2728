"""Subject identifiers: the ``sub`` that a client receives, public or pairwise (OpenID Connect Core §8)."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import urlsplit

from valetkey.storage.clients import Client
from valetkey.tokens.key_ring import KeyRing


def subject_for_client(sub: str, client: Client, keys: KeyRing, now: float) -> str:
    """Return the ``sub`` of a resource owner for one client.

    For a client with ``subject_type`` ``pairwise`` it is a salted digest of the client's sector and the owner's
    ``sub``, so that clients of different sectors cannot correlate their users (OpenID Connect Core §8.1).
    The sector is the host name of the client's ``sector_identifier_uri`` or redirect URI.
    """
    if not is_pairwise(client):
        return sub
    text = f"{_sector_identifier(client)}\0{sub}".encode()
    digest = hashlib.sha256(text + keys.pairwise_salt(now)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_pairwise(client: Client) -> bool:
    """Return whether the client registered for pairwise subject identifiers."""
    return client.metadata.get("subject_type") == "pairwise"


def _sector_identifier(client: Client) -> str:
    identifier = client.metadata.get("sector_identifier_uri") or next(iter(client.redirect_uris), client.client_id)
    return urlsplit(str(identifier)).hostname or client.client_id
