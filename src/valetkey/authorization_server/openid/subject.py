"""Identifiers of users and sessions that clients receive: ``sub`` and ``sid``, public or pairwise (OpenID Core §8)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from urllib.parse import urlsplit

from valetkey.protocol.redirect_uri import leads_to_user_device
from valetkey.storage.clients import Client
from valetkey.tokens.key_ring import KeyRing

# With client_credentials there is no user.
_GRANT_TYPES_BY_REDIRECT = frozenset({"authorization_code", "refresh_token", "client_credentials"})


def subject_for_client(sub: str, client: Client, keys: KeyRing, now: float) -> str:
    """Return the ``sub`` of a resource owner for one client.

    For a client with ``subject_type`` ``pairwise`` it is a salted digest of the client's sector and the owner's
    ``sub``, so that clients of different sectors cannot correlate their users (OpenID Connect Core §8.1).
    """
    return _salted_digest(f"{_sector_identifier(client)}\0{sub}", keys, now) if is_pairwise(client) else sub


def session_id_for_client(sid: str, client: Client, keys: KeyRing, now: float) -> str:
    """Return the ``sid`` of a session for one client (OpenID Connect Back-Channel Logout §2.1).

    A client with pairwise subjects receives a salted digest: by a common ``sid``, it could be correlated with others.
    """
    return _salted_digest(f"sid\0{client.client_id}\0{sid}", keys, now) if is_pairwise(client) else sid


def is_pairwise(client: Client) -> bool:
    """Return whether the client registered for pairwise subject identifiers."""
    return client.metadata.get("subject_type") == "pairwise"


def _sector_identifier(client: Client) -> str:
    """Return a client's sector: the host of its ``sector_identifier_uri`` or redirect URI, else its ``client_id``.

    It is the ``client_id``, too, for a client that registered itself and gets tokens at other places than this host:
    everyone can register the redirect URI of another site, which protects only what is sent there.
    """
    sector_uri = client.metadata.get("sector_identifier_uri")
    if client.registered_itself and not (
        gets_tokens_by_redirect_only(client.grant_types) and (sector_uri or _has_only_redirects_to_sites(client))
    ):
        return client.client_id
    return urlsplit(str(sector_uri or next(iter(client.redirect_uris), ""))).hostname or client.client_id


def gets_tokens_by_redirect_only(grant_types: Collection[str]) -> bool:
    """Return whether a client with these grant types gets a user's tokens only by a code sent to a redirect URI."""
    return _GRANT_TYPES_BY_REDIRECT.issuperset(grant_types)


def _has_only_redirects_to_sites(client: Client) -> bool:
    return all(urlsplit(uri).scheme == "https" and not leads_to_user_device(uri) for uri in client.redirect_uris)


def _salted_digest(text: str, keys: KeyRing, now: float) -> str:
    digest = hashlib.sha256(text.encode() + keys.pairwise_salt(now)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
