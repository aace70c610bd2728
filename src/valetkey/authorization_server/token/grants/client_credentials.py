"""The client credentials grant at the token endpoint (RFC 6749 §4.4): a client gets a token for itself."""

from __future__ import annotations

from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import resolve_request_of_client
from valetkey.protocol.errors import InvalidScope, UnauthorizedClient
from valetkey.settings.derived import OPENID_SCOPES
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
    requested = request.parameters.get("scope")
    # These scopes are about a user, and there is none. The API may have a scope of its own with such a name.
    excluded = {"openid", "offline_access"} if requested else OPENID_SCOPES.keys() - request.runtime.settings.scopes
    access = resolve_request_of_client(
        request.parameters, request.client, request.runtime, request.now, excluded=frozenset(excluded)
    )
    if not access.scope and requested:
        raise InvalidScope("these scopes are for users: request scopes of the API")
    access_token = request.generate_access_token(access, grant=None)
    if access_token.row is not None:
        request.runtime.store.write(Transaction(rows=(access_token.row,), is_independent=True))
    return token_response_body(access_token, access.scope)
