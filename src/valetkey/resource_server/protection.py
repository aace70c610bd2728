"""May this call pass? Token, audience, scope, limit: no Flask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.errors import InsufficientScope, InsufficientUserAuthentication, InvalidToken
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import resource_uri_problem
from valetkey.rate_limiting.admission import AdmissionResult
from valetkey.rate_limiting.headers import quota_policy_name, retry_after_seconds
from valetkey.rate_limiting.rate_limit import RateLimit, parse_rate_limit

from .context import ResourceServerContext

QUOTA_EXCEEDED_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
PROTECTION_ATTRIBUTE = "__valetkey_protection__"  # the attribute of a view that holds its Protection
PROTECTION_BY_METHOD_ATTRIBUTE = (
    "__valetkey_protection_by_method__"  # of a class of views: those of its methods that say nothing
)
DENIED_METHODS_ATTRIBUTE = "__valetkey_closed__"  # of a view that refuses everybody: which of its methods; empty: all


@dataclass(frozen=True, slots=True, eq=False)
class RouteProtection:
    """What a route asks of its callers; made once, where the route is decorated, and equal to no other."""

    scope_alternatives: tuple[frozenset[str], ...]  # one of these sets must be in the token; empty: any token
    challenge_scope: str
    optional: bool
    limit: RateLimit | None
    cost: int
    bucket: str
    resource: str | None = None  # None: the API of the server
    acr: tuple[str, ...] = ()  # any of these (RFC 9470)
    max_age: int | None = None  # seconds since the person signed in
    is_public: bool = False

    @property
    def step_up_parameters(self) -> dict[str, str]:
        """The challenge's parameters that tell how to sign in (RFC 9470 §3)."""
        told = {"acr_values": " ".join(self.acr), "max_age": "" if self.max_age is None else str(self.max_age)}
        return {name: value for name, value in told.items() if value}


def build_protection(
    scope: str | Sequence[str] | None,
    *,
    bucket: str,
    optional: bool = False,
    limit: str | Mapping[str, str] | RateLimit | None = None,
    cost: int = 1,
    resource: str | None = None,
    acr: str | None = None,
    max_age: int | None = None,
    is_public: bool = False,
) -> RouteProtection:
    """A protection from what the decorator was given.

    :raises ValueError: with a sentence, where that cannot be read.
    """
    if scope is not None and not isinstance(scope, str):
        scope = tuple(scope)
    names = (scope,) if isinstance(scope, str) else scope or ()
    alternatives = tuple(parse_scope(one) for one in names)
    if scope is not None and (not alternatives or not all(alternatives)):
        raise ValueError("name at least one scope, or none at all for any token")
    _check_token_requirements(resource, acr, max_age)
    limited = parse_rate_limit(limit, cost)
    if is_public and limited is not None and limited.is_by_plan:
        raise ValueError("callers of a public route have no plan: give one limit for all")
    challenge_scope = names[0] if names else ""
    return RouteProtection(
        alternatives,
        challenge_scope,
        optional,
        limited,
        cost,
        bucket,
        resource,
        tuple((acr or "").split()),
        max_age,
        is_public,
    )


def _check_token_requirements(resource: str | None, acr: str | None, max_age: int | None) -> None:
    """:raises ValueError: where no token could ever meet them."""
    if resource is not None and (problem := resource_uri_problem(resource)):
        raise ValueError(f"resource {resource!r} names no API: {problem}")
    if acr is not None and not (isinstance(acr, str) and acr.split()):
        raise ValueError(f"acr is a text, the values between spaces, not {acr!r}")
    if max_age is not None and not (isinstance(max_age, int) and max_age >= 0):
        raise ValueError(f"max_age is a number of seconds, not {max_age!r}")


def check_token(protection: RouteProtection, resource: str, token: AccessToken, now: float) -> None:
    """See that the token is for this resource, and opens this route.

    :raises InvalidToken, InsufficientScope: RFC 6750 §3.1.
    :raises InsufficientUserAuthentication: RFC 9470 §3.
    """
    if resource not in token.audience:
        raise InvalidToken("the access token is for another resource", log_detail=f"aud {token.audience}")
    wanted = protection.scope_alternatives
    if wanted and not (wanted[0] <= token.scopes or any(scope <= token.scopes for scope in wanted[1:])):
        raise InsufficientScope(_missing_scope_message(protection, token))
    if protection.acr or protection.max_age is not None:
        _check_user_authentication(token, protection, now)


def record_use(context: ResourceServerContext, token: AccessToken, now: float) -> None:
    """Remember that a person's token was used."""
    if token.client_id == PERSONAL_TOKEN_CLIENT_ID:
        context.last_used.record(token.jti, now, personal=True)
    elif token.grant_id is not None:
        context.last_used.record(token.grant_id, now)


def _missing_scope_message(protection: RouteProtection, token: AccessToken) -> str:
    first, *others = protection.scope_alternatives
    if others:
        return f"the access token needs the scope {' or '.join(map(format_scope, protection.scope_alternatives))}"
    return f"the access token lacks the scope {format_scope(first - token.scopes)}"


def _check_user_authentication(token: AccessToken, protection: RouteProtection, now: float) -> None:
    """RFC 9470 §3: the person must have signed in so, or so lately."""
    if protection.acr and token.acr not in protection.acr:
        raise InsufficientUserAuthentication("another way of signing in is needed")
    if protection.max_age is not None and (token.auth_time is None or now - token.auth_time > protection.max_age):
        raise InsufficientUserAuthentication("a more recent sign-in is needed")


def rate_limit_problem(result: AdmissionResult) -> tuple[str, dict[str, Any]]:
    """What a caller is told who came too often: a sentence, and the members of the problem.

    ``reason`` tells a rate from a quota; ``violated-policies`` names the policy as the RateLimit fields do
    (draft-ietf-httpapi-ratelimit-headers-11 §5).
    """
    if result.quota_result is not None and not result.quota_result.is_admitted:
        quota = result.quota_result.quota
        told = (
            f"the quota of {quota.max_calls} calls a {quota.unit} is used up; the next {quota.unit} begins at 00:00 UTC"
        )
        members = {"type": QUOTA_EXCEEDED_TYPE, "title": "Quota Exceeded", "reason": "quota-exceeded"}
        return told, {**members, "violated-policies": [quota_policy_name(quota.unit)]}
    refused = result.refused_by
    assert refused is not None
    limit, seconds = refused.limit, retry_after_seconds(result)
    told = f"at most {limit.max_calls} calls in {limit.period_s} s, {limit.burst} of them at once; wait {seconds} s"
    if refused.name != "default":
        told = f"{refused.name}: {told}"
    if (cost := result.charge_plan.route_budget.cost) > 1:
        told += f"; this call counts as {cost}"
    return told, {"reason": "rate-limited", "violated-policies": [refused.name]}
