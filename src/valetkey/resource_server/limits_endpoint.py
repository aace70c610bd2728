"""What a caller may still call: its plan, its limits and its quota, each with what remains. Asking costs none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from valetkey.endpoint import Call, Endpoint, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.admission import Caller, Charge
from valetkey.rate_limiting.headers import quota_policy_name
from valetkey.storage.engine.transaction import StoreUnavailable

from .routes import Route


def make_endpoint(routes: Callable[[], Iterable[Route]]) -> Endpoint:
    """``GET /oauth/limits``, with any good access token."""
    return Endpoint(
        "limits", "/limits", ("GET",), lambda call: _respond(call, routes()), cors=True, uses_bearer_token=True
    )


def _respond(call: Call, routes: Iterable[Route]) -> MachineResponse:
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        raise MissingToken("an access token is required")
    runtime = call.runtime
    token = runtime.verifier.verify(value, call.now)
    runtime.charge("userinfo_limit", f"{token.client_id}|{token.user_id or ''}", call.now)
    plans = runtime.admission.plans
    plan = plans.find_plan(token.counted_as, call.now) if plans is not None else None
    charged = _collect_charges(
        call, routes, plan, Caller(token.counted_as, token.user_id, caller_network(call.address))
    )
    limits = [told for charge, where in charged if (told := _describe_limit(call, charge, where)) is not None]
    quota = plans.budgets[plan].quota if plans is not None and plan is not None else None
    answer: dict[str, Any] = {"client_id": token.client_id, "plan": plan, "limits": limits, "quota": None}
    if quota is not None:
        left = runtime.quotas.peek(token.counted_as, quota, call.now)
        answer["quota"] = {
            "name": quota_policy_name(quota.unit),
            "limit": quota.max_calls,
            "period": quota.unit,
            "used": quota.max_calls - left.remaining,
            "remaining": left.remaining,
            "reset": int(left.reset_after) + 1,
        }
    return json_response(answer)


def _collect_charges(
    call: Call, routes: Iterable[Route], plan: str | None, caller: Caller
) -> list[tuple[Charge, list[str]]]:
    """Each budget once, with the routes that are charged to it."""
    found: dict[str, tuple[Charge, list[str]]] = {}
    for route in routes:
        for protection in route.protections:
            if protection.is_public:
                continue
            for charge in call.runtime.admission.build_charge_plan(protection, route.endpoint, plan, caller).charges:
                found.setdefault(charge.key, (charge, []))[1].append(f"{' '.join(route.methods)} {route.path}")
    return list(found.values())


def _describe_limit(call: Call, charge: Charge, routes: list[str]) -> dict[str, Any] | None:
    """A limit and what remains; nothing of one that fails open while nobody can count."""
    try:
        left = call.runtime.limiter.peek(charge.key, charge.limit, call.now)
    except StoreUnavailable:
        if not charge.fails_open:
            raise
        return None
    return {
        "name": charge.name,
        "routes": routes,
        "limit": charge.limit.max_calls,
        "period": charge.limit.period_s,
        "burst": charge.limit.burst,
        "remaining": left.remaining,
        "reset": int(left.reset_after + 0.999),
    }
