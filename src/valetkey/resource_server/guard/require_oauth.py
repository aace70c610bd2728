"""The decorators that stand before a route: ``require_oauth`` and ``public``; and ``current_token``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast, overload

from flask import Request, Response, current_app, request
from werkzeug.local import LocalProxy

from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol import bearer
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientUserAuthentication, InvalidToken, OAuthError, TooManyRequests
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.admission import AdmissionResult, Caller, ChargePlan
from valetkey.rate_limiting.headers import Fields, charge_lease, rate_limit_fields
from valetkey.rate_limiting.rate_limit import RateLimit
from valetkey.resource_server.context import ResourceServerContext
from valetkey.resource_server.metadata import metadata_url
from valetkey.resource_server.protection import (
    PROTECTION_ATTRIBUTE,
    RouteProtection,
    build_protection,
    check_token,
    rate_limit_problem,
    record_use,
)
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.context import EXTENSION, NO_ROUTE, current_address, current_route
from valetkey.web.problem_responses import problem
from valetkey.web.request_id import request_id
from valetkey.web.wsgi import TOKEN_KEY, Environ, Headers, ResponseHook

P = ParamSpec("P")
R = TypeVar("R")
Decorator = Callable[[Callable[P, R]], Callable[P, R]]

_CALLER_KEY, _FIELDS_KEY = "valetkey.caller", "valetkey.fields"  # in the WSGI environment, for the answer


def _current_token() -> AccessToken | None:
    """Kept with the request, not in ``flask.g``: a test may hold that open for many requests."""
    try:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    except RuntimeError:  # outside of a request nobody calls
        return None
    token: AccessToken | None = asked.environ.get(TOKEN_KEY)
    return token


class _CurrentToken(LocalProxy[AccessToken | None]):
    """Says so where there is no token; and an attribute costs a quarter less than by werkzeug's own look-up."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        token = _current_token()
        if token is None:
            raise AttributeError(f"no access token opened this: current_token is false and has no {name}")
        return getattr(token, name)


#: The access token of this request; false where an anonymous caller was let through.
current_token: AccessToken = cast(AccessToken, _CurrentToken(_current_token))


@overload
def require_oauth(scope: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def require_oauth(
    scope: str | Sequence[str] | None = None,
    *,
    optional: bool = False,
    limit: str | Mapping[str, str] | RateLimit | None = None,
    cost: int = 1,
    resource: str | None = None,
    acr: str | None = None,
    max_age: int | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def require_oauth(scope: Any = None, **asked: Any) -> Any:
    """Let a view be called with a good access token only (RFC 6750).

    :param scope: a string: all of its space-separated scopes are needed; a list: any one of its members (the
        challenge names the first); left out: any good token will do.
    :param optional: anonymous callers pass too; ``current_token`` is then false. A bad token is still refused.
    :param limit: as ``100/minute`` or ``100/minute burst 20``, for each app and user together. The burst, which is
        what may come at once, is a tenth of the number where it is not said. One for each plan is a mapping,
        ``{"free": "10/minute", "pro": "100/minute"}``; more can be said by a ``RateLimit``.
    :param cost: how many calls of limits and quotas one call takes.
    :param resource: the token must be for this resource (RFC 8707) instead of the server's API.
    :param acr: how the person must have signed in; any of the space-separated values (RFC 9470).
    :param max_age: the most seconds that may have passed since (RFC 9470).
    :raises ValueError: where the view is decorated, if the arguments cannot be read.
    """
    if callable(scope):
        return _guard(scope, build_protection(None, bucket=_bucket_name(scope)))
    if scope is not None and not isinstance(scope, str):
        scope = tuple(scope)
    build_protection(scope, bucket="", **asked)  # told where the decorator stands, not when a call comes
    return lambda view: _guard(view, build_protection(scope, bucket=_bucket_name(view), **asked))


@overload
def public(view: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def public(*, limit: str | RateLimit | None = None, cost: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def public(view: Any = None, /, *, limit: str | RateLimit | None = None, cost: int = 1) -> Any:
    """Say that a view is for everybody, and how often: the limit is for each caller's network address.

    :raises ValueError: where the arguments cannot be read.
    """
    if view is not None and not callable(view):
        raise ValueError(f"say it by name: public(limit={view!r})")
    if view is not None:
        return _mark_public(view, build_protection(None, bucket=_bucket_name(view), is_public=True))
    asked: dict[str, Any] = {"optional": True, "limit": limit, "cost": cost, "is_public": True}
    return lambda view: _mark_public(view, build_protection(None, bucket=_bucket_name(view), **asked))


def _guard(view: Callable[P, R], protection: RouteProtection) -> Callable[P, R]:
    call = _ensure_sync(view)

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # once, not at each use
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
        world: ResourceServerContext = app.extensions[EXTENSION]
        environ, rule = asked.environ, asked.url_rule
        endpoint = rule.endpoint if rule else ""
        try:
            if not world.is_ready:
                world.get_ready()
            now = world.clock()
            authorization = environ.get("HTTP_AUTHORIZATION")
            token = world.verifier.verify_header(authorization, now) if authorization else None
            if token is not None:
                environ[_CALLER_KEY] = token.client_id, now, rule  # metered, also where it is refused
                gate = world.admission.authorized_routes.get((token, protection, endpoint))
                if gate is None or (gate.plan and gate.plan != world.admission.find_plan(token.counted_as, now)):
                    gate = _authorize_token(world, protection, token, endpoint, now)
                if token.user_id is not None:
                    record_use(world, token, now)
            elif protection.optional:
                gate = _find_charge_plan(world, protection, None, endpoint, now)
            else:
                raise MissingToken("an access token is required: send it as Authorization: Bearer")
            environ[TOKEN_KEY] = token
            if gate.is_charged and (refused := _charge(world, gate, now, environ)) is not None:
                return cast(R, refused)
        except OAuthError as refusal:
            return cast(R, _make_challenge_response(world, protection, refusal))
        except StoreUnavailable as cause:
            return cast(R, _make_unavailable_response(cause))
        return call(*args, **kwargs)

    setattr(guarded, PROTECTION_ATTRIBUTE, protection)
    return guarded


def _mark_public(view: Callable[P, R], protection: RouteProtection) -> Callable[P, R]:
    if protection.limit is None and inspect.isfunction(view):
        if not hasattr(view, PROTECTION_ATTRIBUTE):  # else a guard stands before the view already, and goes on to
            setattr(view, PROTECTION_ATTRIBUTE, protection)
        return view

    call = _ensure_sync(view)

    @functools.wraps(view)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        world: ResourceServerContext = app.extensions[EXTENSION]
        try:
            if not world.is_ready:
                world.get_ready()
            now, rule = world.clock(), request.url_rule
            gate = _find_charge_plan(world, protection, None, rule.endpoint if rule else "", now)
            refused = _charge(world, gate, now, request.environ) if gate.is_charged else None
        except StoreUnavailable as cause:
            return cast(R, _make_unavailable_response(cause))
        return call(*args, **kwargs) if refused is None else cast(R, refused)

    setattr(limited, PROTECTION_ATTRIBUTE, protection)
    return limited


def _ensure_sync(view: Callable[P, R]) -> Callable[P, R]:
    """The view as a plain call; told once whether it is async, since asking each time costs 4 us."""
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: cast(R, current_app.ensure_sync(view)(*args, **kwargs))


def _bucket_name(view: Callable[..., Any]) -> str:
    """What tells the limits of two views at one endpoint apart, the same in every process."""
    named = view.func if isinstance(view, functools.partial) else view
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', type(named).__qualname__)}"


def _authorize_token(
    context: ResourceServerContext, protection: RouteProtection, token: AccessToken, endpoint: str, now: float
) -> ChargePlan:
    """What a token's calls of a route are charged to, if it opens it; remembered, but where a call may differ.

    :raises OAuthError: where it does not, as ``check_token``.
    """
    check_token(protection, protection.resource or context.settings.api_resource, token, now)
    gate = _find_charge_plan(context, protection, token, endpoint, now)
    if protection.max_age is None and not _is_limited_by_address(protection):
        context.admission.cache_authorized_route(token, endpoint, gate)
    return gate


def _find_charge_plan(
    context: ResourceServerContext, protection: RouteProtection, token: AccessToken | None, endpoint: str, now: float
) -> ChargePlan:
    """The caller's budgets, never the token's."""
    by_address = _is_limited_by_address(protection) if token is not None else protection.limit is not None
    network = caller_network(current_address(context)) if by_address else ""
    caller = Caller(None, None, network) if token is None else Caller(token.counted_as, token.user_id, network)
    return context.admission.find_charge_plan(
        protection, endpoint, context.admission.find_plan(caller.client_id, now), caller
    )


def _charge(context: ResourceServerContext, charge_plan: ChargePlan, now: float, environ: Environ) -> Response | None:
    """Charge the call to its budgets, and keep their fields for the answer; the refusal, where one says no.

    :raises StoreUnavailable: where the counters cannot be reached, and a limit fails closed.
    """
    fields = charge_lease(context.admission, charge_plan, now)
    if fields is not None:
        environ[_FIELDS_KEY] = fields
        return None
    counted = context.admission.charge(charge_plan, now)
    fields = rate_limit_fields(counted, context.admission.fields_style, now)
    if fields:  # else those of a guard before this one stay
        environ[_FIELDS_KEY] = fields
    return None if counted.is_admitted else _make_rate_limit_response(counted)


def _is_limited_by_address(protection: RouteProtection) -> bool:
    return protection.limit is not None and protection.limit.per == "address"


def finish_call(context: ResourceServerContext) -> ResponseHook:
    """Tell the caller its limits, also with an error of the view; meter the call."""

    def finish(environ: Environ, status: str, headers: Headers) -> None:
        fields: Fields | None = environ.get(_FIELDS_KEY)
        if fields is not None:
            headers += fields
        caller = environ.get(_CALLER_KEY)
        if caller is not None and context.usage is not None:
            client_id, now, rule = caller
            path = rule.rule if rule else NO_ROUTE
            context.usage.record(client_id, environ["REQUEST_METHOD"], path, status[:3], now)

    return finish


def _make_challenge_response(
    context: ResourceServerContext, protection: RouteProtection, refusal: OAuthError
) -> Response:
    """The refusal as problem details with its challenge (RFC 6750 §3, RFC 9457, RFC 9728 §5.1)."""
    log_refusal(refusal, request_id(), current_route())
    resource = protection.resource or context.settings.api_resource
    challenge = bearer.format_challenge(
        refusal,
        realm=resource,
        resource_metadata=metadata_url(resource),
        scope=protection.challenge_scope if refusal.status in {401, 403} else "",
        **(protection.step_up_parameters if isinstance(refusal, InsufficientUserAuthentication) else {}),
    )
    named = {} if isinstance(refusal, MissingToken) else {"error": refusal.error}  # RFC 6750 §3.1
    response = problem(refusal.status, refusal.description, [("WWW-Authenticate", challenge)], **named)
    if isinstance(refusal, InvalidToken):
        response.headers["Cache-Control"] = "no-store"
    return response


def _make_rate_limit_response(result: AdmissionResult) -> Response:
    told, members = rate_limit_problem(result)
    log_refusal(TooManyRequests(told), request_id(), current_route())
    return problem(429, told, **members)


def _make_unavailable_response(cause: StoreUnavailable) -> Response:
    current_app.logger.error("%s: %s [%s]", current_route(), cause, request_id())
    again = [("Retry-After", str(cause.retry_after))]
    return problem(503, "the server cannot judge tokens or count calls now; try again", again)
