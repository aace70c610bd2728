"""Charging of API calls to their rate limits and quota, and the header fields that say what remains of them."""

from __future__ import annotations

from flask import request

from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.errors import TooManyRequests
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.admission import Caller, ChargePlan
from valetkey.rate_limiting.headers import Fields, charge_lease, rate_limit_fields
from valetkey.resource_server.context import ResourceServerContext
from valetkey.resource_server.protection import RouteProtection, rate_limit_problem
from valetkey.web.context import NO_ROUTE, current_address
from valetkey.web.problem_responses import refuse
from valetkey.web.refused_call import refuse_call
from valetkey.web.wsgi import CALLER_KEY, Environ, Headers, ResponseHook

FIELDS_KEY = "valetkey.fields"  # in the WSGI environment: the RateLimit header fields, for finish_call
# In the WSGI environment, if a limit refuses the call: the app's context, the protection, what the call was charged to,
# and the URL rule.
LIMIT_REFUSAL_KEY = "valetkey.limit_refusal"


def find_charge_plan(
    context: ResourceServerContext, protection: RouteProtection, token: AccessToken | None, endpoint: str, now: float
) -> ChargePlan:
    """Return the limits and quota that the call is charged to.

    They belong to the client and user, or to the network: a new token does not start a new count.
    """
    by_address = is_limited_by_address(protection) if token is not None else protection.limit is not None
    network = caller_network(current_address(context.settings.trusted_proxies)) if by_address else ""
    caller = Caller(None, None, network) if token is None else Caller(token.counted_as, token.user_id, network)
    return context.admission.find_charge_plan(
        protection, endpoint, context.admission.find_plan(caller.client_id, now), caller
    )


def charge_call(
    context: ResourceServerContext, protection: RouteProtection, charge_plan: ChargePlan, now: float, environ: Environ
) -> None:
    """Charge the call to its limits and quota, and store the RateLimit header fields for the response.

    :raises CallRefused: if a limit or quota refuses the call.
    :raises BackendUnavailable: if the counters cannot be reached, and a limit or quota is set to refuse calls then.
    """
    fields = charge_lease(context.admission, charge_plan, now)
    if fields is not None:
        environ[FIELDS_KEY] = fields
        return
    result = context.admission.charge(charge_plan, now)
    fields = rate_limit_fields(result, context.admission.fields_style, now)
    if fields:  # otherwise those of an outer guard stay
        environ[FIELDS_KEY] = fields
    if not result.is_admitted:
        environ[LIMIT_REFUSAL_KEY] = context, protection, charge_plan, request.url_rule
        detail, members = rate_limit_problem(result)  # Retry-After is one of the RateLimit fields
        refusal = refuse(TooManyRequests(detail, is_repeated=result.is_repeated))
        raise refuse_call(environ, protection, refusal, **members)


def is_limited_by_address(protection: RouteProtection) -> bool:
    """Return whether calls of a route are counted by network address."""
    return protection.limit is not None and protection.limit.per == "address"


def finish_call(context: ResourceServerContext) -> ResponseHook:
    """Return the hook that adds RateLimit fields to responses, also to errors of the view, and counts calls."""

    def finish(environ: Environ, status: str, headers: Headers) -> None:
        fields: Fields | None = environ.get(FIELDS_KEY)
        if fields is not None:
            names = {name.lower() for name, _ in fields}
            headers[:] = [*(item for item in headers if item[0].lower() not in names), *fields]
        caller = environ.get(CALLER_KEY)
        if caller is not None and context.usage is not None:
            token, now, rule = caller
            path = rule.rule if rule else NO_ROUTE
            context.usage.record(token, environ["REQUEST_METHOD"], path, status[:3], now)

    return finish
