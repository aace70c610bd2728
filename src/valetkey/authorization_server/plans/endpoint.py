"""Endpoint with which a client reads its plan and requests another one."""

from __future__ import annotations

from valetkey.authorization_server.token.client_authentication import authenticate_confidential
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol.errors import InvalidRequest, NotFound

from .service import get_subscription, subscribe


def read_or_request_plan(call: Call) -> MachineResponse:
    """Return the client's plan. If the request has the parameter ``plan``, subscribe the client to that plan first.

    If that plan needs manual approval, it is only requested, and the client stays on its plan until the operator
    approves.

    :raises InvalidClient: if client authentication fails.
    :raises NotFound: if no plans are configured.
    :raises InvalidRequest: if the requested plan does not exist.
    :raises TooManyRequests: if the client changes its plan too often.
    """
    client, runtime = authenticate_confidential(call), call.runtime
    if not runtime.settings.plans:
        raise NotFound("this API has no plans")
    requested, subscription = call.parameters.get("plan"), get_subscription(runtime, client.client_id)
    if requested is not None and requested not in runtime.settings.plans:
        raise InvalidRequest(f"there is no such plan; there are: {', '.join(runtime.settings.plans)}")
    if requested is not None and requested != (subscription.wanted or subscription.plan):
        runtime.limits.charge(
            "plan_changes", client.client_id, now=call.now, description="the plan was changed too often"
        )
        subscription = subscribe(runtime, client.client_id, requested, call.now)
    body = {"client_id": client.client_id, "plan": subscription.plan, "waits_for": subscription.wanted}
    return json_response({**body, "plans": list(runtime.settings.plans)})
