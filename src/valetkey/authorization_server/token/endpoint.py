"""The token endpoint (RFC 6749 §3.2): authenticate the client, and call the handler of the requested grant type."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.protocol.errors import UnauthorizedClient, UnsupportedGrantType
from valetkey.protocol.refusal import JSON_HEADERS

from .client_authentication import authenticate
from .grants import authorization_code, client_credentials, device_code, refresh_token
from .grants.request import TokenRequest

GRANT_TYPES: dict[str, Callable[[TokenRequest], bytes]] = {
    "authorization_code": authorization_code.redeem,
    "client_credentials": client_credentials.redeem,
    DEVICE_CODE_GRANT_TYPE: device_code.redeem,
    "refresh_token": refresh_token.redeem,
}


def handle_token_request(call: Call) -> MachineResponse:
    """Authenticate the client, and return the token response of the requested grant type.

    :raises OAuthError: if authentication fails, the grant type is unknown or not allowed for the client, or the grant
        is refused.
    """
    feed_view = call.runtime.feed.get_view()  # before the checks: a later revocation revokes what they allow
    client = authenticate(call)
    grant_type = call.parameters.require("grant_type")
    redeem = GRANT_TYPES.get(grant_type)
    if redeem is None:
        raise UnsupportedGrantType("this grant_type is not supported")
    if grant_type not in client.grant_types:
        raise UnauthorizedClient(
            "the client may not use this grant_type", log_detail=f"the client's policy is {client.policy.name}"
        )
    request = TokenRequest(call.runtime, call.now, client, call.parameters, call.address, feed_view)
    try:
        body = redeem(request)
    finally:
        call.user = request.user
    return MachineResponse(200, body, JSON_HEADERS)
