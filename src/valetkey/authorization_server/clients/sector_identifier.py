"""Checks that the document at ``sector_identifier_uri`` lists a client's redirect URIs (OpenID Connect Core §8.1).

Clients that name the same document receive the same pairwise ``sub``: a user id that differs for other clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.authorization_server.openid.subject import gets_tokens_by_redirect_only
from valetkey.outbound.errors import FetchError
from valetkey.protocol.errors import InvalidClientMetadata
from valetkey.runtime import Runtime


def check_sector_identifier(metadata: Mapping[str, Any], runtime: Runtime) -> None:
    """Check that the document at ``sector_identifier_uri`` lists all of the client's redirect URIs.

    See OpenID Connect Dynamic Client Registration §5. Metadata without ``sector_identifier_uri`` is accepted.

    :raises InvalidClientMetadata: if the document cannot be fetched, or does not list one of the ``redirect_uris``, or
        if the client gets tokens in another way than at its redirect URIs, so that the document proves nothing.
    """
    uri = metadata.get("sector_identifier_uri")
    if uri is None:
        return
    if not gets_tokens_by_redirect_only(metadata["grant_types"]):
        raise InvalidClientMetadata("a client with the device code grant cannot have a sector_identifier_uri")
    try:
        with runtime.fetch_slots.sector_identifiers(uri):
            listed = runtime.fetcher.get(uri).json()
    except FetchError as cause:
        raise InvalidClientMetadata("sector_identifier_uri cannot be read", log_detail=str(cause)) from cause
    if not isinstance(listed, list) or not all(uri in listed for uri in metadata.get("redirect_uris", ())):
        raise InvalidClientMetadata("sector_identifier_uri does not list all of redirect_uris")
