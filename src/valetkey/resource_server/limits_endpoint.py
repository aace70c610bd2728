"""The limits endpoint: a caller's plan, limits and quota, with what remains of them.

Requests to it are not charged to the limits and quota that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from valetkey.endpoint import Call, Endpoint, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.admission import Caller, Charge
from valetkey.rate_limiting.headers import quota_policy_name

from .routes import Route


def make_endpoint(routes: Callable[[], Iterable[Route]]) -> Endpoint:
    """Return the endpoint ``GET /oauth/limits``, which requires an access token but no scope.

    :param routes: function that returns the routes of the app.
    """
    return Endpoint(
        "limits", "/limits", ("GET",), lambda call: _respond(call, routes()), cors=True, uses_bearer_token=True
    )


def _respond(call: Call, routes: Iterable[Route]) -> MachineResponse:
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        raise MissingToken("an access token is required")
    runtime = call.runtime
    token = call.verify_token(value)
    runtime.limits.charge("userinfo_limit", token.client_id, token.user_id or "", now=call.now, fails_open=True)
    plans = runtime.admission.plans
    plan = plans.find_plan(token.counted_as, call.now) if plans is not None else None
    caller = Caller(token.counted_as, token.user_id, caller_network(call.address))
    charges = _collect_charges(call, routes, plan, caller)
    limits = [limit for charge, names in charges if (limit := _describe_limit(call, charge, names)) is not None]
    quota = plans.budgets[plan].quota if plans is not None and plan is not None else None
    body: dict[str, Any] = {"client_id": token.client_id, "plan": plan, "limits": limits, "quota": None}
    if quota is not None:
        result = runtime.quotas.peek(token.counted_as, quota, call.now)
        body["quota"] = {
            "name": quota_policy_name(quota.unit),
            "limit": quota.max_calls,
            "period": quota.unit,
            "used": quota.max_calls - result.remaining,
            "remaining": result.remaining,
            "reset": math.ceil(result.reset_after),
        }
    return json_response(body)


def _collect_charges(
    call: Call, routes: Iterable[Route], plan: str | None, caller: Caller
) -> list[tuple[Charge, list[str]]]:
    """Return each rate limit of the caller once, with the methods and paths of the routes that are charged to it."""
    charges: dict[str, tuple[Charge, list[str]]] = {}
    for route in routes:
        for protection in route.protections:
            if protection.is_public:
                continue
            for charge in call.runtime.admission.build_charge_plan(protection, route.endpoint, plan, caller).charges:
                charges.setdefault(charge.key, (charge, []))[1].append(f"{' '.join(route.methods)} {route.path}")
    return list(charges.values())


def _describe_limit(call: Call, charge: Charge, routes: list[str]) -> dict[str, Any] | None:
    """Return the JSON object for one limit, with what remains of it.

    Returns ``None`` if the counters are unavailable and calls are allowed then.

    :raises BackendUnavailable: if the counters are unavailable and calls are refused then.
    """
    try:
        result = call.runtime.admission.limiter.peek(charge.key, charge.limit, call.now)
    except BackendUnavailable:
        if not charge.fails_open:
            raise
        return None
    return {
        "name": charge.name,
        "routes": routes,
        "limit": charge.limit.max_calls,
        "period": charge.limit.period_s,
        "burst": charge.limit.burst,
        "remaining": result.remaining,
        "reset": math.ceil(result.reset_after),
    }
