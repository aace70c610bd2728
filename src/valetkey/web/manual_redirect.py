"""The page with a link to a client, instead of a redirect to it (RFC 9700 §4.11.2)."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from valetkey.protocol.redirect_uri import describe_destination

from .pages import render_page
from .request_id import request_id


def render_manual_redirect(
    uri: str, client_name: str, *, title: str, sentence: str, status: int, form: Mapping[str, str] | None = None
) -> Response:
    """Return a page that names the host of a URI, and leads to it only if the user clicks.

    :param uri: the client's URI, already checked to be registered.
    :param form: parameters that the click posts to the URI; ``None`` for a link.
    """
    return render_page(
        "manual_redirect.html",
        status,
        title=title,
        sentence=sentence,
        client_name=client_name,
        uri=uri,
        host=describe_destination(uri),
        parameters=form,
        reference=request_id() if status >= 400 else "",
    )
