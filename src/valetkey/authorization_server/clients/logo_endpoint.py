"""A client's logo, for the pages on which it asks (RFC 7591 §2): shown from here, so nobody else is on the page."""

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
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def serve_logo(call: Call) -> MachineResponse:
    """The picture at a client's ``logo_uri``; its site does not learn who looks at it (RFC 9700 §4.2.4)."""
    client = call.runtime.clients.find(parse_parameters(call.query).get("client_id") or "", call.now)
    uri = displayable_logo_uri(client) if client else None
    if uri is None:
        raise NotFound("this client has no logo to show")
    try:
        image = call.runtime.images.get(uri)
    except FetchError as cause:
        raise NotFound("this client has no logo to show", log_detail=str(cause)) from cause
    return MachineResponse(200, image.body, (("Content-Type", image.content_type), *_HEADERS))


def displayable_logo_uri(client: Client) -> str | None:
    """Where its logo is; None where that is no host of its own: it could be the face of another (RFC 7591 §5)."""
    uri = client.metadata.get("logo_uri")
    own = {host_of(one) for one in (*client.redirect_uris, client.client_id)}
    return str(uri) if uri and host_of(str(uri)) in own - {None} else None
