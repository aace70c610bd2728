"""Endpoint that serves client logos (RFC 7591 §2), so that consent pages load nothing from other sites."""

from __future__ import annotations

from valetkey.endpoint import Call, MachineResponse
from valetkey.outbound.errors import FetchError
from valetkey.protocol.errors import NotFound
from valetkey.protocol.parameters import parse_parameters
from valetkey.protocol.uri import host_of
from valetkey.storage.clients import Client

_HEADERS = (
    ("Cache-Control", "private, max-age=3600"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def serve_logo(call: Call) -> MachineResponse:
    """Return the image at a client's ``logo_uri``.

    The server fetches the image, so that the site that hosts it learns nothing about the user (RFC 9700 §4.2.4).

    :raises NotFound: if the client does not exist, has no logo that may be displayed, or the logo cannot be fetched.
    """
    client = call.runtime.clients.find(parse_parameters(call.query).get("client_id") or "", call.now)
    uri = displayable_logo_uri(client) if client else None
    if uri is None:
        raise NotFound("this client has no logo")
    try:
        image = call.runtime.images.get(uri)
    except FetchError as cause:
        raise NotFound("this client has no logo", log_detail=str(cause)) from cause
    return MachineResponse(200, image.body, (("Content-Type", image.content_type), *_HEADERS))


def displayable_logo_uri(client: Client) -> str | None:
    """Return the client's ``logo_uri``, or ``None`` if the client has no logo that may be displayed.

    The logo must be on the host of a redirect URI or of a ``client_id`` that is a URL; otherwise a client could display
    the logo of another company (RFC 7591 §5).
    """
    logo_uri = client.metadata.get("logo_uri")
    own_hosts = {host_of(uri) for uri in (*client.redirect_uris, client.client_id)}
    return str(logo_uri) if logo_uri and host_of(str(logo_uri)) in own_hosts - {None} else None
