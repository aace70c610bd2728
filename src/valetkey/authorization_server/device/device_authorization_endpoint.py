"""The device authorization endpoint (RFC 8628 §3.1), at which a device without a browser gets its codes."""

from __future__ import annotations

from valetkey.authorization_server.token.client_authentication import authenticate
from valetkey.authorization_server.token.scope_and_resource import resolve_request
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.protocol.errors import InvalidRequest, TemporarilyUnavailable, UnauthorizedClient
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import DEVICE_CODE, generate_secret
from valetkey.protocol.user_code import format_user_code, generate_user_code
from valetkey.rate_limiting.address import caller_network
from valetkey.storage import device_codes
from valetkey.storage.clients import Client
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction

POLL_INTERVAL_S = 5.0  # seconds between two polls (§3.2)
_MAX_USER_CODE_ATTEMPTS = 5


def device_authorization(call: Call) -> MachineResponse:
    """Return a device code, with which the device polls, and a user code, which the user enters (RFC 8628 §3.2).

    :raises TemporarilyUnavailable: if five generated user codes were all in use.
    :raises TooManyRequests: if the caller's network requested too many device codes.
    :raises OAuthError: if client authentication fails, the client may not use the device code grant, or the scope or
        a resource is not allowed.
    """
    settings = call.runtime.settings
    client = authenticate(call)
    _check_device_grant_allowed(client, call)
    access = resolve_request(call.parameters, client, call.runtime, call.now)
    _charge_device_authorization(call)
    secret = generate_secret(DEVICE_CODE)
    for _ in range(_MAX_USER_CODE_ATTEMPTS):
        code = DeviceCode(
            digest=secret.digest(),
            user_code=generate_user_code(),
            client_id=client.client_id,
            scope=format_scope(access.scope),
            resources=to_json(list(access.audience)),
            interval=POLL_INTERVAL_S,
            expires_at=call.now + settings.device_code_lifetime,
        )
        if call.runtime.store.write(Transaction(device_codes.add(code))):
            break
    else:
        raise TemporarilyUnavailable("no user code is free; try again", retry_after=5)
    verification_uri = f"{settings.issuer}{settings.device_path}"
    return json_response(
        {
            "device_code": secret.reveal(),
            "user_code": format_user_code(code.user_code),
            "verification_uri": verification_uri,
            "verification_uri_complete": f"{verification_uri}?user_code={format_user_code(code.user_code)}",
            "expires_in": settings.device_code_lifetime,
            "interval": int(POLL_INTERVAL_S),
        }
    )


def _check_device_grant_allowed(client: Client, call: Call) -> None:
    if call.runtime.settings.device_path is None:
        raise InvalidRequest("device authorization is not supported")
    if DEVICE_CODE_GRANT_TYPE not in client.grant_types:
        raise UnauthorizedClient(
            "the client may not use this grant_type", log_detail=f"the client's policy is {client.policy.name}"
        )


def _charge_device_authorization(call: Call) -> None:
    description = "too many device codes were requested"
    network = caller_network(call.address)
    call.runtime.limits.charge("device_authorization_limit", network, now=call.now, description=description)
