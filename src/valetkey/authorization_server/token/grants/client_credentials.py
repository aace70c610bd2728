"""The client credentials grant (RFC 6749 §4.4)."""

from __future__ import annotations

from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import check_scope, limit_scope_to_resources, read_resources
from valetkey.protocol.errors import InvalidScope, UnauthorizedClient
from valetkey.storage.engine.transaction import Transaction

from .request import TokenRequest


def redeem(request: TokenRequest) -> bytes:
    """A token for the client itself; no refresh token (§4.4.3)."""
    if request.client.is_public:
        raise UnauthorizedClient("a public client may not use client_credentials")  # §4.4
    scope = check_scope(request.parameters.get("scope"), request.client, request.runtime)
    scope -= {"openid", "offline_access"}  # there is no person to know, and nobody to be away
    audience = read_resources(request.parameters, request.runtime, request.client, scope)
    scope = limit_scope_to_resources(scope, audience, request.runtime)
    if not scope and request.parameters.get("scope"):
        raise InvalidScope("nothing of this scope can be given to a program that acts for itself")
    minted = request.runtime.token_generator.generate_access_token(
        client_id=request.client.client_id, scope=scope, audience=audience, now=request.now, grant=None
    )
    if minted.row is not None:
        request.runtime.write(Transaction(rows=(minted.row,)))
    return token_response_body(minted, scope)
