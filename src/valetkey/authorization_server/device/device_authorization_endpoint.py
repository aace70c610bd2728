"""The device authorization endpoint (RFC 8628 §3.1): codes for a device that has no browser."""

from __future__ import annotations

from valetkey.authorization_server.token.client_authentication import authenticate
from valetkey.authorization_server.token.scope_and_resource import check_scope, fit_scope, read_resources
from valetkey.endpoint import Answer, Call, json_answer
from valetkey.protocol.errors import InvalidRequest, TemporarilyUnavailable, TooManyRequests, UnauthorizedClient
from valetkey.protocol.policy import DEVICE_CODE
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import DEVICE_CODE as KIND
from valetkey.protocol.secret import mint
from valetkey.protocol.user_code import new_user_code, shown
from valetkey.rate_limiting.address import network_of
from valetkey.rate_limiting.limit import parse_limit
from valetkey.storage import device_codes
from valetkey.storage.clients import Client
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Write

INTERVAL = 5.0  # seconds between two polls (§3.2)
_ATTEMPTS = 5


def device_authorization(call: Call) -> Answer:
    """A device code for the device, a user code for the person (§3.2)."""
    settings = call.runtime.settings
    client = authenticate(call)
    _check_may_ask(client, call)
    scope = check_scope(call.parameters.get("scope"), client, call.runtime)
    resources = read_resources(call.parameters, call.runtime, client, scope)
    scope = fit_scope(scope, resources, call.runtime)
    _spend(call)
    secret = mint(KIND)
    for _ in range(_ATTEMPTS):
        code = DeviceCode(
            digest=secret.digest(),
            user_code=new_user_code(),
            client_id=client.client_id,
            scope=format_scope(scope),
            resources=to_json(list(resources)),
            interval=INTERVAL,
            expires_at=call.now + settings.device_code_lifetime,
        )
        if call.runtime.write(Write(device_codes.add(code))):
            break
    else:
        raise TemporarilyUnavailable("no user code is free; try again", retry_after=5)
    page = f"{settings.issuer}{settings.device_path}"
    return json_answer(
        {
            "device_code": secret.reveal(),
            "user_code": shown(code.user_code),
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={shown(code.user_code)}",
            "expires_in": settings.device_code_lifetime,
            "interval": int(INTERVAL),
        }
    )


def _check_may_ask(client: Client, call: Call) -> None:
    if call.runtime.settings.device_path is None:
        raise InvalidRequest("device authorization is not served here")
    if DEVICE_CODE not in client.grant_types:
        raise UnauthorizedClient("the client may not use this grant_type", detail=client.policy.name)


def _spend(call: Call) -> None:
    limit = parse_limit(call.runtime.settings.device_authorization_limit)
    spent = call.runtime.limiter.spend(f"device:{network_of(call.address)}", limit, call.now)
    if not spent.admitted:
        raise TooManyRequests("too many device codes were asked for", retry_after=spent.retry_after)
