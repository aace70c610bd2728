"""The token endpoint (RFC 6749 §3.2)."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.endpoint import JSON_HEADERS, Answer, Call
from valetkey.protocol.errors import UnauthorizedClient, UnsupportedGrantType
from valetkey.protocol.policy import DEVICE_CODE

from .client_authentication import authenticate
from .grants import authorization_code, client_credentials, device_code, refresh_token
from .grants.request import TokenRequest

GRANT_TYPES: dict[str, Callable[[TokenRequest], bytes]] = {
    "authorization_code": authorization_code.redeem,
    "client_credentials": client_credentials.redeem,
    DEVICE_CODE: device_code.redeem,
    "refresh_token": refresh_token.redeem,
}


def exchange(call: Call) -> Answer:
    """Authenticate the client, find the grant type, and answer with what it gives."""
    client = authenticate(call)
    grant_type = call.parameters.required("grant_type")
    redeem = GRANT_TYPES.get(grant_type)
    if redeem is None:
        raise UnsupportedGrantType("this grant_type is not served")
    if grant_type not in client.grant_types:
        raise UnauthorizedClient("the client may not use this grant_type", detail=client.policy.name)
    body = redeem(TokenRequest(call.runtime, call.now, client, call.parameters, call.address))
    return Answer(200, body, JSON_HEADERS)
