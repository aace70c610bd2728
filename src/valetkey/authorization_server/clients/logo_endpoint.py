"""A client's logo, for the pages on which it asks (RFC 7591 §2): shown from here, so nobody else is on the page."""

from __future__ import annotations

from valetkey.endpoint import Answer, Call
from valetkey.outbound.bounds import FetchProblem
from valetkey.protocol.errors import NotFound
from valetkey.protocol.parameters import read_form
from valetkey.protocol.uri import host_of
from valetkey.storage.clients import Client

_HEADERS = (
    ("Cache-Control", "private, max-age=3600"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def logo(call: Call) -> Answer:
    """The picture at a client's ``logo_uri``; its site does not learn who looks at it (RFC 9700 §4.2.4)."""
    client = call.runtime.clients.find(read_form(call.query).get("client_id") or "", call.now)
    uri = shown_logo(client) if client else None
    if uri is None:
        raise NotFound("this client has no logo to show")
    try:
        image = call.runtime.images.get(uri)
    except FetchProblem as cause:
        raise NotFound("this client has no logo to show", detail=str(cause)) from cause
    return Answer(200, image.body, (("Content-Type", image.kind), *_HEADERS))


def shown_logo(client: Client) -> str | None:
    """Where its logo is; None where that is no host of its own: it could be the face of another (RFC 7591 §5)."""
    uri = client.metadata.get("logo_uri")
    own = {host_of(one) for one in (*client.redirect_uris, client.client_id)}
    return str(uri) if uri and host_of(str(uri)) in own - {None} else None
