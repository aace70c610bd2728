"""The view decorators ``require_oauth`` and ``public``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, ParamSpec, TypeGuard, TypeVar, cast, overload

from flask import Request, current_app, request
from werkzeug.routing import Rule

from valetkey.protocol import bearer
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientUserAuthentication, InvalidToken, OAuthError
from valetkey.protocol.protected_resource import metadata_url
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.admission import ChargePlan
from valetkey.rate_limiting.rate_limit import RateLimit
from valetkey.resource_server.context import ResourceServerContext
from valetkey.resource_server.protection import (
    PROTECTION_ATTRIBUTE,
    ProtectionOptions,
    RouteProtection,
    build_protection,
    check_arguments,
    check_token,
    read_scope,
)
from valetkey.web.async_views import ensure_sync
from valetkey.web.context import EXTENSION
from valetkey.web.problem_responses import refuse, refuse_misdirected_request
from valetkey.web.refused_call import CallRefused, admit_call, refuse_call
from valetkey.web.wsgi import CALLER_KEY, REFUSED_HOST_KEY, TOKEN_KEY, Environ

from .charging import charge_call, find_charge_plan, is_limited_by_address
from .misplaced_decorators import record_decorated_view
from .own_endpoints import is_hook_before_own_endpoint

P = ParamSpec("P")
R = TypeVar("R")


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
def require_oauth(scope: Any = None, *others: Any, **options: Any) -> Any:
    """Require a valid access token to call a view (RFC 6750).

    Write ``@require_oauth`` for any valid token, or ``@require_oauth("notes:read")`` for a scope, below ``@app.get``
    and other route decorators. In the view, ``current_token`` is the token. A request without a valid token gets 401,
    and a request whose token lacks a scope gets 403, each with a ``WWW-Authenticate`` challenge and problem details
    (RFC 9457). A request over a limit or quota gets 429 with ``Retry-After``.

    :param scope: the scopes that the token must have. A string: all of its space-separated scopes. A list: all scopes
        of any one of its strings; the challenge names the first. If it is omitted, any valid token will do.
    :param optional: whether requests without a token are allowed too; ``current_token`` is then false. An invalid
        token is still refused.
    :param limit: how often each user of each client may call the view, such as ``"100/minute"`` or
        ``"100/minute burst 20"``. The burst is how many calls may come at once; if it is omitted, it is a tenth of the
        number of calls. A mapping has a limit per plan, such as ``{"free": "10/minute", "pro": "100/minute"}``. A
        ``RateLimit`` has more options.
    :param cost: how many calls one call counts as, in limits and quotas.
    :param resource: identifier of the resource that the token must be for (RFC 8707), instead of the
        server's API.
    :param acr: how the user must have signed in: any one of these space-separated ``acr`` values (RFC 9470).
    :param max_age: how many seconds may have passed since the user signed in (RFC 9470).
    :raises TypeError: if there is no such argument.
    :raises ValueError: if an argument is invalid, or the view is a ``MethodView``; raised when the decorator is
        applied, not in requests.
    """
    if callable(scope):
        _check_is_alone("require_oauth", *others, *options)
        return _guard(scope, build_protection(None, bucket=bucket_name(scope)))
    check_arguments("require_oauth", others, options, ["scope", *ProtectionOptions.__annotations__])
    scope = read_scope(scope)
    build_protection(scope, bucket="", **options)  # raises here if an argument is invalid
    return lambda view: _guard(view, build_protection(scope, bucket=bucket_name(view), **options))


@overload
def public(view: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def public(*, limit: str | RateLimit | None = None, cost: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def public(view: Any = None, /, **options: Any) -> Any:
    """Declare that a view may be called without an access token, and optionally limit how often.

    Write ``@public``, or ``@public(limit="60/minute")``. An API view that has neither ``@public`` nor
    ``@require_oauth`` and is in no protected blueprint is named in a warning in the log, and denied if
    ``protect_by_default`` is set.

    :param limit: how often each network address may call the view, such as ``"60/minute burst 10"``; or a
        ``RateLimit``. It cannot be a limit per plan, since a caller without a token has no plan.
    :param cost: how many calls one call counts as, in the limit.
    :raises TypeError: if there is no such argument.
    :raises ValueError: if an argument is invalid, or the view is a ``MethodView``; raised when the decorator is
        applied, not in requests.
    """
    if view is not None and not callable(view):
        raise ValueError(f"pass the limit by name: public(limit={view!r})")
    if view is not None:
        _check_is_alone("public", *options)
        return _mark_public(view, build_protection(None, bucket=bucket_name(view), is_public=True))
    check_arguments("public", (), options, ["limit", "cost"])
    options |= {"optional": True, "is_public": True}
    build_protection(None, bucket="", **options)  # raises here if an argument is invalid
    return lambda view: _mark_public(view, build_protection(None, bucket=bucket_name(view), **options))


def _check_is_alone(decorator: str, *others: object) -> None:
    """Check that a decorator that was called with a view has no other arguments, which would have no effect.

    :raises TypeError: if it has.
    """
    if others:
        raise TypeError(f"pass the view in a call of its own: {decorator}(...)(view)")


def _guard(view: Callable[P, R], protection: RouteProtection) -> Callable[P, R]:
    call = ensure_sync(view)

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        check_call(protection, request._get_current_object())  # type: ignore[attr-defined]  # typed as Request
        return call(*args, **kwargs)

    setattr(guarded, PROTECTION_ATTRIBUTE, protection)
    record_decorated_view(view, guarded, "@require_oauth")
    return guarded


def is_guard(view: Any) -> TypeGuard[FunctionType]:
    """Return whether a view is the function that ``require_oauth`` returns, without a decorator around it."""
    return type(view) is FunctionType and view.__code__ is _GUARD_CODE


def check_call(protection: RouteProtection, current: Request) -> None:
    """Verify the access token of a request, check that it may call the route, and charge the call to its limits.

    If it returns, the view may be called, and ``current_token`` is the token. A ``before_request`` function with this
    check does nothing before Valetkey's own endpoints, which clients without a token have to reach.

    :param current: the current request, not the proxy.
    :raises CallRefused: if the call is refused.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # typed as Flask, not as a proxy
    context: ResourceServerContext | None = app.extensions.get(EXTENSION)
    if context is None:
        raise RuntimeError("this app has no Valetkey: add Valetkey(app, scopes={...}), or call init_app(app)")
    environ, rule = current.environ, current.url_rule
    if is_hook_before_own_endpoint(app, current, rule.endpoint if rule else ""):
        return
    if REFUSED_HOST_KEY in environ:
        raise refuse_call(environ, protection, refuse_misdirected_request(environ[REFUSED_HOST_KEY]))
    _admit(context, protection, environ, rule)


def _admit(context: ResourceServerContext, protection: RouteProtection, environ: Environ, rule: Rule | None) -> None:
    """Verify the access token, unless the view is public, and charge the call to its limits: for every guard.

    :raises CallRefused: if the call is refused.
    """
    endpoint = rule.endpoint if rule else ""
    try:
        if not context.is_ready:
            context.get_ready()
        now = context.clock()
        authorization = None if protection.is_public else environ.get("HTTP_AUTHORIZATION")
        token = context.verifier.verify_header(authorization, now) if authorization else None
        if token is not None:
            environ[CALLER_KEY] = token, now, rule  # recorded as usage even if the call is refused
            charge_plan = context.admission.authorized_routes.get((token, protection, endpoint))
            if charge_plan is None or (
                charge_plan.plan and charge_plan.plan != context.admission.find_plan(token.counted_as, now)
            ):
                charge_plan = _authorize_token(context, protection, token, endpoint, now)
        elif protection.optional:
            charge_plan = find_charge_plan(context, protection, None, endpoint, now)
        else:
            raise MissingToken("an access token is required: send it as Authorization: Bearer TOKEN")
        if not protection.is_public:
            environ[TOKEN_KEY] = token
        if charge_plan.is_charged:
            charge_call(context, protection, charge_plan, now, environ)
        admit_call(environ, protection)
    except (OAuthError, BackendUnavailable) as cause:
        raise _refuse(context, protection, cause, environ) from cause


def _mark_public(view: Callable[P, R], protection: RouteProtection) -> Callable[P, R]:
    """Return a function that calls the view, and says that it is public.

    The view itself is not changed: it may be used for another route too, which is then not public.
    """
    call = ensure_sync(view)
    if protection.limit is None:

        @functools.wraps(view)
        def unlimited(*args: P.args, **kwargs: P.kwargs) -> R:
            return call(*args, **kwargs)

        if not hasattr(unlimited, PROTECTION_ATTRIBUTE):  # else the view has a guard already, which stays in effect
            setattr(unlimited, PROTECTION_ATTRIBUTE, protection)
        record_decorated_view(view, unlimited, "@public")
        return unlimited

    @functools.wraps(view)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # typed as Flask, not as a proxy
        _admit(app.extensions[EXTENSION], protection, request.environ, request.url_rule)
        return call(*args, **kwargs)

    setattr(limited, PROTECTION_ATTRIBUTE, protection)
    record_decorated_view(view, limited, "@public")
    return limited


def bucket_name(view: Callable[..., Any]) -> str:
    """Return the view's qualified name, by which two views at one endpoint have separate rate limit counters.

    The name is the same in every process.
    """
    function = view.func if isinstance(view, functools.partial) else view
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _authorize_token(
    context: ResourceServerContext, protection: RouteProtection, token: AccessToken, endpoint: str, now: float
) -> ChargePlan:
    """Check that the token may call the route, and return the limits and quota that its calls are charged to.

    The result is cached, unless it may differ from call to call (``max_age``, limits per address).

    :raises OAuthError: if the token may not call the route; see ``check_token``.
    """
    check_token(protection, protection.resource or context.settings.api_resource, token, now)
    charge_plan = find_charge_plan(context, protection, token, endpoint, now)
    if protection.max_age is None and not is_limited_by_address(protection):
        context.admission.cache_authorized_route(token, endpoint, charge_plan)
    return charge_plan


def _refuse(
    context: ResourceServerContext,
    protection: RouteProtection,
    cause: OAuthError | BackendUnavailable,
    environ: Environ,
) -> CallRefused:
    """Log a refused call and return its exception.

    If the token or its lack is the reason, the response has a ``WWW-Authenticate`` challenge (RFC 6750 §3,
    RFC 9728 §5.1).
    """
    if not isinstance(cause, OAuthError):
        return refuse_call(environ, protection, refuse(cause))
    resource = protection.resource or context.settings.api_resource
    challenge = bearer.format_challenge(
        cause,
        realm=resource,
        resource_metadata=metadata_url(resource),
        scope=protection.challenge_scope if cause.status in {401, 403} else "",
        **(protection.step_up_parameters if isinstance(cause, InsufficientUserAuthentication) else {}),
    )
    no_store = [("Cache-Control", "no-store")] if isinstance(cause, InvalidToken) else []
    refusal = refuse(cause, ("WWW-Authenticate", challenge), *no_store)
    error = {} if isinstance(cause, MissingToken) else {"error": cause.error}  # RFC 6750 §3.1
    return refuse_call(environ, protection, refusal, **error)


_GUARD_CODE = cast(FunctionType, _guard(bucket_name, build_protection(None, bucket=""))).__code__
