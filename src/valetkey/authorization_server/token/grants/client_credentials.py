"""The client credentials grant at the token endpoint (RFC 6749 §4.4): a client gets a token for itself."""

from __future__ import annotations

from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import check_scope, limit_scope_to_resources, read_resources
from valetkey.protocol.errors import InvalidScope, UnauthorizedClient
from valetkey.storage.engine.transaction import Transaction

from .request import TokenRequest


def redeem(request: TokenRequest) -> bytes:
    """Issue an access token for the client itself, and return the JSON body (RFC 6749 §4.4.3).

    No refresh token is issued.

    :raises UnauthorizedClient: if the client is public.
    :raises InvalidScope: if none of the requested scopes can be granted to a token without a user.
    """
    if request.client.is_public:
        raise UnauthorizedClient("a public client may not use client_credentials")  # §4.4
    scope = check_scope(request.parameters.get("scope"), request.client, request.runtime)
    scope -= {"openid", "offline_access"}  # both are about a user, and there is none
    audience = read_resources(request.parameters, request.runtime, request.client, scope)
    scope = limit_scope_to_resources(scope, audience, request.runtime)
    if not scope and request.parameters.get("scope"):
        raise InvalidScope("nothing of this scope can be given to a program that acts for itself")
    access_token = request.runtime.token_generator.generate_access_token(
        client_id=request.client.client_id, scope=scope, audience=audience, now=request.now, grant=None
    )
    if access_token.row is not None:
        request.runtime.write(Transaction(rows=(access_token.row,)))
    return token_response_body(access_token, scope)
