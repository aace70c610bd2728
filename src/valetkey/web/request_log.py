"""Details of the current request, for the log line of an error response."""

from __future__ import annotations

from flask import current_app, request

from valetkey.activity.refusal_log import RequestInfo
from valetkey.rate_limiting.address import caller_network

from .context import EXTENSION, current_address, current_route, request_state
from .request_id import request_id
from .wsgi import CALLER_KEY


def current_request_info(client_id: str | None = None) -> RequestInfo:
    """Return the reference, route, client, user and network of the current request. Needs a request context.

    Client and user are those of the access token that the guard verified, or else the signed-in user and, on Valetkey's
    pages, the parameter ``client_id`` of the URL.

    :param client_id: the client, if the caller knows it.
    """
    context = current_app.extensions.get(EXTENSION)
    network = None if context is None else caller_network(current_address(context.settings.trusted_proxies))
    reference, route = request_id(), current_route()
    token = request.environ.get(CALLER_KEY, (None,))[0]
    if token is not None:
        return RequestInfo(reference, route, token.client_id, token.user_id, network)
    owner = request_state().get("owner")
    if client_id is None and (request.endpoint or "").startswith("valetkey_"):
        client_id = request.args.get("client_id")
    return RequestInfo(reference, route, client_id, owner.sub if owner else None, network)
