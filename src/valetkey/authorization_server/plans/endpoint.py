"""An app asks which plan it has, and for another one."""

from __future__ import annotations

from valetkey.authorization_server.token.client_authentication import authenticate_confidential
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol.errors import InvalidRequest, NotFound, TooManyRequests
from valetkey.rate_limiting.limit import parse_limit

from .service import get_subscription, subscribe

_CHANGE_LIMIT = parse_limit("10/day burst 10")  # for each app: every plan has a budget of its own


def read_or_request_plan(call: Call) -> MachineResponse:
    """The app's plan; with ``plan=`` it asks for that one, and has it at once or waits for the operator.

    :raises InvalidClient: where the app does not prove who it is.
    :raises NotFound: where the publisher has no plans.
    :raises InvalidRequest: where there is no such plan.
    :raises TooManyRequests: where the app changes its mind too often.
    """
    client, runtime = authenticate_confidential(call), call.runtime
    if not runtime.settings.plans:
        raise NotFound("this API has no plans")
    wanted, told = call.parameters.get("plan"), get_subscription(runtime, client.client_id)
    if wanted is not None and wanted not in runtime.settings.plans:
        raise InvalidRequest(f"there is no such plan; there are: {', '.join(runtime.settings.plans)}")
    if wanted is not None and wanted != (told.wanted or told.plan):
        spent = runtime.limiter.spend(f"plan:{client.client_id}", _CHANGE_LIMIT, call.now)
        if not spent.is_admitted:
            raise TooManyRequests("the plan was changed too often", retry_after=spent.retry_after)
        told = subscribe(runtime, client.client_id, wanted)
    answer = {"client_id": client.client_id, "plan": told.plan, "waits_for": told.wanted}
    return json_response({**answer, "plans": list(runtime.settings.plans)})
