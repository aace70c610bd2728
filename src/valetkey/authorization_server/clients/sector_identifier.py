"""The sector of pairwise subjects: a URL that lists all redirect URIs of it (OpenID Connect Core §8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.outbound.errors import FetchError
from valetkey.protocol.errors import InvalidClientMetadata
from valetkey.runtime import Runtime


def check_sector_identifier(metadata: Mapping[str, Any], runtime: Runtime) -> None:
    """See that the sector knows the client (OpenID Connect Dynamic Client Registration §5).

    :raises InvalidClientMetadata: where the list cannot be had, or lacks one of ``redirect_uris``.
    """
    uri = metadata.get("sector_identifier_uri")
    if uri is None:
        return
    try:
        with runtime.fetch_slot():
            listed = runtime.fetcher.get(uri).json()
    except FetchError as cause:
        raise InvalidClientMetadata("sector_identifier_uri cannot be read", log_detail=str(cause)) from cause
    if not isinstance(listed, list) or not all(one in listed for one in metadata.get("redirect_uris", ())):
        raise InvalidClientMetadata("sector_identifier_uri does not list all of redirect_uris")
