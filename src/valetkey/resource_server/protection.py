"""Protection of routes: what a route requires of callers, and the check of a token against that.

Does not import Flask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypedDict

from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.errors import InsufficientScope, InsufficientUserAuthentication, InvalidToken
from valetkey.protocol.refusal import whole_seconds
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.rate_limiting.admission import AdmissionResult
from valetkey.rate_limiting.headers import quota_policy_name
from valetkey.rate_limiting.rate_limit import RateLimit, parse_rate_limit

QUOTA_EXCEEDED_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class ProtectionOptions(TypedDict, total=False):
    """The keyword arguments of ``protect``, with the meaning that they have in ``require_oauth``."""

    optional: bool
    limit: str | Mapping[str, str] | RateLimit | None
    cost: int
    resource: str | None
    acr: str | None
    max_age: int | None


PROTECTION_ATTRIBUTE = "__valetkey_protection__"  # attribute of a view: its RouteProtection


@dataclass(frozen=True, slots=True, eq=False)
class RouteProtection:
    """Scopes, limits and other conditions of a route. Created when the view is decorated; equal to no other one."""

    # The token needs all scopes of one of these sets; empty: any token will do.
    scope_alternatives: tuple[frozenset[str], ...]
    challenge_scope: str  # the scope that the challenge names
    optional: bool  # whether calls without a token are allowed too
    limit: RateLimit | None
    cost: int
    bucket: str  # separates the budgets of views at one endpoint
    resource: str | None = None  # None: the server's own API
    acr: tuple[str, ...] = ()  # any of these (RFC 9470)
    max_age: int | None = None  # seconds since the user signed in
    is_public: bool = False

    @property
    def is_for_users_only(self) -> bool:
        """Whether the route accepts only tokens of users, and none that a client got for itself."""
        return not self.optional and (bool(self.acr) or self.max_age is not None)

    @property
    def step_up_parameters(self) -> dict[str, str]:
        """Parameters of the ``WWW-Authenticate`` challenge that say how the user must sign in (RFC 9470 §3).

        They are ``acr_values`` and ``max_age``, without those that the route does not require.
        """
        parameters = {"acr_values": " ".join(self.acr), "max_age": "" if self.max_age is None else str(self.max_age)}
        return {name: value for name, value in parameters.items() if value}


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
    """Build a route's protection from the arguments of ``require_oauth`` or ``public``.

    :param bucket: name that separates the rate limit counters of views at one endpoint.
    :param is_public: whether the decorator is ``public``.
    :raises ValueError: if an argument is invalid; the message says why.
    """
    scope = read_scope(scope)
    names = (scope,) if isinstance(scope, str) else scope or ()
    alternatives = tuple(parse_scope(name) for name in names)
    if scope is not None and (not alternatives or not all(alternatives)):
        raise ValueError("scope must name at least one scope; omit it to accept any token")
    if not isinstance(optional, bool):  # a text such as "false" would open the route
        raise ValueError(f"optional must be True or False, not {optional!r}")
    _check_token_requirements(resource, acr, max_age)
    rate_limit = parse_rate_limit(limit, cost)
    if is_public and rate_limit is not None and rate_limit.is_by_plan:
        raise ValueError("callers of a public route have no plan: use one limit instead of a limit per plan")
    challenge_scope = names[0] if names else ""
    return RouteProtection(
        alternatives,
        challenge_scope,
        optional,
        rate_limit,
        cost,
        bucket,
        resource,
        tuple((acr or "").split()),
        max_age,
        is_public,
    )


def read_scope(scope: str | Iterable[str] | None) -> str | tuple[str, ...] | None:
    """Return the argument ``scope`` of ``require_oauth``; a collection or generator of strings becomes a tuple.

    :raises ValueError: if it is something else than a string, strings or ``None``.
    """
    if scope is None or isinstance(scope, str):
        return scope
    names: tuple[object, ...] = tuple(scope) if isinstance(scope, Iterable) else (scope,)
    texts = tuple(name for name in names if isinstance(name, str))
    if len(texts) < len(names):
        raise ValueError(f"scope must be a string such as 'notes:read', or a list of such strings, not {scope!r}")
    return texts


def check_arguments(
    function: str, others: Collection[object], options: Mapping[str, object], valid_names: Collection[str]
) -> None:
    """Check which arguments ``require_oauth``, ``public`` or ``protect`` were called with.

    :param function: name of the function.
    :param others: positional arguments after the scope.
    :param options: the keyword arguments.
    :param valid_names: the names of keyword arguments that the function has.
    :raises TypeError: if there are ``others``, or a keyword argument that the function does not have.
    """
    if others:
        raise TypeError(
            f"{function}() takes one argument for scopes: pass a list if any one of several scopes is enough, "
            "or one string with spaces if all of them are required"
        )
    for name in options:
        if name not in valid_names:
            close = get_close_matches(name, valid_names, 1)
            advice = f"did you mean {close[0]}?" if close else f"it has {', '.join(valid_names)}"
            raise TypeError(f"{function}() has no argument {name}: {advice}")


def _check_token_requirements(resource: str | None, acr: str | None, max_age: int | None) -> None:
    """Check the ``resource``, ``acr`` and ``max_age`` arguments of ``require_oauth``.

    :raises ValueError: if an argument is not valid, so that no token could meet it.
    """
    if resource is not None and not isinstance(resource, str):
        raise ValueError(f"resource must be one URL, such as 'https://api.example.com', not {resource!r}")
    if resource is not None and (problem := resource_uri_problem(resource)):
        raise ValueError(f"resource {resource!r} is not a valid resource identifier: {problem}")
    is_header_text = isinstance(acr, str) and acr.isascii() and acr.isprintable() and not {*'"\\'} & {*acr}
    if acr is not None and not (is_header_text and acr.split()):  # the challenge names it (RFC 9470 §3)
        raise ValueError(f"acr must be space-separated values in ASCII without quotes, not {acr!r}")
    if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0):
        raise ValueError(f"max_age must be a whole number of seconds, 0 or more, not {max_age!r}")


def check_token(protection: RouteProtection, resource: str, token: AccessToken, now: float) -> None:
    """Check that a verified token is for this resource and meets the route's requirements.

    :param resource: identifier of the resource that the token must be for (RFC 8707).
    :param now: seconds since 1970.
    :raises InvalidToken: if the token is for another resource (RFC 6750 §3.1).
    :raises InsufficientScope: if the token lacks a scope (RFC 6750 §3.1).
    :raises InsufficientUserAuthentication: if the user signed in by a method that the route does
        not accept, or too long ago (RFC 9470 §3).
    """
    if resource not in token.audience and not _is_audience(resource, token):
        raise InvalidToken("the access token is for another resource", log_detail=f"aud {token.audience}")
    alternatives = protection.scope_alternatives
    if alternatives and not (
        alternatives[0] <= token.scopes or any(scope <= token.scopes for scope in alternatives[1:])
    ):
        raise InsufficientScope(_missing_scope_message(protection, token))
    if protection.acr or protection.max_age is not None:
        _check_user_authentication(token, protection, now)


def _is_audience(resource: str, token: AccessToken) -> bool:
    """Return whether a token is for a resource whose identifier is written in another way, such as without a slash."""
    normalized = normalize_resource(resource)
    return any(normalize_resource(name) == normalized for name in token.audience if resource_uri_problem(name) is None)


def _missing_scope_message(protection: RouteProtection, token: AccessToken) -> str:
    first, *others = protection.scope_alternatives
    if others:
        return f"the access token needs the scope {' or '.join(map(format_scope, protection.scope_alternatives))}"
    return f"the access token lacks the scope {format_scope(first - token.scopes)}"


def _check_user_authentication(token: AccessToken, protection: RouteProtection, now: float) -> None:
    """Check how and how long ago the user signed in (RFC 9470 §3).

    :raises InsufficientUserAuthentication: if the route requires another method, or a more recent sign-in.
    """
    if protection.acr and token.acr not in protection.acr:
        raise InsufficientUserAuthentication("another kind of sign-in is required")
    if protection.max_age is not None and (token.auth_time is None or now - token.auth_time > protection.max_age):
        raise InsufficientUserAuthentication("a more recent sign-in is required")


def rate_limit_problem(result: AdmissionResult) -> tuple[str, dict[str, Any]]:
    """Return the ``detail`` and the extra members of the problem details (RFC 9457) for a call over a limit or quota.

    The member ``reason`` tells whether a limit or a quota was exceeded; ``violated-policies`` has its name in the
    RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-11 §5).
    """
    if result.quota_result is not None and not result.quota_result.is_admitted:
        quota, remaining = result.quota_result.quota, result.quota_result.remaining
        cost = result.charge_plan.route_budget.cost
        state = f"has {remaining} left, and this call counts as {cost}" if remaining else "is used up"
        detail = (
            f"the quota of {quota.max_calls} calls a {quota.unit} {state}; the next {quota.unit} begins at 00:00 UTC"
        )
        members = {"type": QUOTA_EXCEEDED_TYPE, "title": "Quota Exceeded", "reason": "quota-exceeded"}
        return detail, {**members, "violated-policies": [quota_policy_name(quota.unit)]}
    charge = result.refused_by
    assert charge is not None
    limit, retry_after_s = charge.limit, whole_seconds(result.retry_after)
    detail = (
        f"at most {limit.max_calls} calls in {limit.period_s} s, {limit.burst} of them at once; wait {retry_after_s} s"
    )
    if charge.name != "default":
        detail = f"{charge.name}: {detail}"
    if (cost := result.charge_plan.route_budget.cost) > 1:
        detail += f"; this call counts as {cost}"
    return detail, {"reason": "rate-limited", "violated-policies": [charge.name]}
