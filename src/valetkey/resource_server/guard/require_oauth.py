"""The decorators that stand before a route: ``require_oauth`` and ``public``; and ``current_token``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast, overload

from flask import Request, Response, current_app, request
from werkzeug.local import LocalProxy

from valetkey.activity.refusals import log_refusal
from valetkey.protocol import bearer
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientUserAuthentication, InvalidToken, OAuthError, TooManyRequests
from valetkey.rate_limiting.address import network_of
from valetkey.rate_limiting.admission import Caller, Counted, Gate
from valetkey.rate_limiting.fields import Fields, fields_by_lease, rate_limit_fields
from valetkey.rate_limiting.rate_limit import RateLimit
from valetkey.resource_server.context import World
from valetkey.resource_server.metadata import metadata_url
from valetkey.resource_server.protection import (
    PROTECTION,
    Protection,
    check_token,
    note_use,
    over_the_limit,
    read_protection,
)
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.context import EXTENSION, NO_ROUTE, current_address, current_route
from valetkey.web.problem_responses import problem
from valetkey.web.request_id import reference
from valetkey.web.wsgi import TOKEN, Environ, Finish, Headers

P = ParamSpec("P")
R = TypeVar("R")
Decorator = Callable[[Callable[P, R]], Callable[P, R]]

_CALLER, _FIELDS = "valetkey.caller", "valetkey.fields"  # in the WSGI environment, for the answer


def _current_token() -> AccessToken | None:
    """Kept with the request, not in ``flask.g``: a test may hold that open for many requests."""
    try:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    except RuntimeError:  # outside of a request nobody calls
        return None
    token: AccessToken | None = asked.environ.get(TOKEN)
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
        return _guard(scope, read_protection(None, bucket=_bucket(scope)))
    if scope is not None and not isinstance(scope, str):
        scope = tuple(scope)
    read_protection(scope, bucket="", **asked)  # told where the decorator stands, not when a call comes
    return lambda view: _guard(view, read_protection(scope, bucket=_bucket(view), **asked))


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
        return _open(view, read_protection(None, bucket=_bucket(view), is_public=True))
    asked: dict[str, Any] = {"optional": True, "limit": limit, "cost": cost, "is_public": True}
    return lambda view: _open(view, read_protection(None, bucket=_bucket(view), **asked))


def _guard(view: Callable[P, R], protection: Protection) -> Callable[P, R]:
    call = _synchronous(view)

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # once, not at each use
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
        world: World = app.extensions[EXTENSION]
        environ, rule = asked.environ, asked.url_rule
        endpoint = rule.endpoint if rule else ""
        try:
            if not world.is_ready:
                world.get_ready()
            now = world.clock()
            authorization = environ.get("HTTP_AUTHORIZATION")
            token = world.judge.judge_header(authorization, now) if authorization else None
            if token is not None:
                environ[_CALLER] = token.client_id, now, rule  # metered, also where it is refused
                gate = world.admission.opened.get((token, protection, endpoint))
                if gate is None or (gate.plan and gate.plan != world.admission.plan_of(token.counted_as, now)):
                    gate = _open_gate(world, protection, token, endpoint, now)
                if token.user_id is not None:
                    note_use(world, token, now)
            elif protection.optional:
                gate = _gate(world, protection, None, endpoint, now)
            else:
                raise MissingToken("an access token is required: send it as Authorization: Bearer")
            environ[TOKEN] = token
            if gate.counts and (refused := _count(world, gate, now, environ)) is not None:
                return cast(R, refused)
        except OAuthError as refusal:
            return cast(R, _refuse(world, protection, refusal))
        except StoreUnavailable as cause:
            return cast(R, _unavailable(cause))
        return call(*args, **kwargs)

    setattr(guarded, PROTECTION, protection)
    return guarded


def _open(view: Callable[P, R], protection: Protection) -> Callable[P, R]:
    if protection.limit is None and inspect.isfunction(view):
        if not hasattr(view, PROTECTION):  # else a guard stands before the view already, and goes on to
            setattr(view, PROTECTION, protection)
        return view

    call = _synchronous(view)

    @functools.wraps(view)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        world: World = app.extensions[EXTENSION]
        try:
            if not world.is_ready:
                world.get_ready()
            now, rule = world.clock(), request.url_rule
            gate = _gate(world, protection, None, rule.endpoint if rule else "", now)
            refused = _count(world, gate, now, request.environ) if gate.counts else None
        except StoreUnavailable as cause:
            return cast(R, _unavailable(cause))
        return call(*args, **kwargs) if refused is None else cast(R, refused)

    setattr(limited, PROTECTION, protection)
    return limited


def _synchronous(view: Callable[P, R]) -> Callable[P, R]:
    """The view as a plain call; told once whether it is async, since asking each time costs 4 us."""
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: cast(R, current_app.ensure_sync(view)(*args, **kwargs))


def _bucket(view: Callable[..., Any]) -> str:
    """What tells the limits of two views at one endpoint apart, the same in every process."""
    named = view.func if isinstance(view, functools.partial) else view
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', type(named).__qualname__)}"


def _open_gate(world: World, protection: Protection, token: AccessToken, endpoint: str, now: float) -> Gate:
    """What a token's calls of a route are charged to, if it opens it; remembered, but where a call may differ.

    :raises OAuthError: where it does not, as ``check_token``.
    """
    check_token(protection, protection.resource or world.settings.api_resource, token, now)
    gate = _gate(world, protection, token, endpoint, now)
    if protection.max_age is None and not _is_by_address(protection):
        world.admission.remember(token, endpoint, gate)
    return gate


def _gate(world: World, protection: Protection, token: AccessToken | None, endpoint: str, now: float) -> Gate:
    """The caller's budgets, never the token's."""
    by_address = _is_by_address(protection) if token is not None else protection.limit is not None
    network = network_of(current_address(world)) if by_address else ""
    caller = Caller(None, None, network) if token is None else Caller(token.counted_as, token.user_id, network)
    return world.admission.find_gate(protection, endpoint, world.admission.plan_of(caller.client_id, now), caller)


def _count(world: World, gate: Gate, now: float, environ: Environ) -> Response | None:
    """Charge the call to its budgets, and keep their fields for the answer; the refusal, where one says no.

    :raises StoreUnavailable: where the counters cannot be reached, and a limit fails closed.
    """
    fields = fields_by_lease(world.admission, gate, now)
    if fields is not None:
        environ[_FIELDS] = fields
        return None
    counted = world.admission.count(gate, now)
    fields = rate_limit_fields(counted, world.admission.fields, now)
    if fields:  # else those of a guard before this one stay
        environ[_FIELDS] = fields
    return None if counted.is_admitted else _too_many(counted)


def _is_by_address(protection: Protection) -> bool:
    return protection.limit is not None and protection.limit.per == "address"


def finish_call(world: World) -> Finish:
    """Tell the caller its limits, also with an error of the view; meter the call."""

    def finish(environ: Environ, status: str, headers: Headers) -> None:
        fields: Fields | None = environ.get(_FIELDS)
        if fields is not None:
            headers += fields
        caller = environ.get(_CALLER)
        if caller is not None and world.usage is not None:
            client_id, now, rule = caller
            path = rule.rule if rule else NO_ROUTE
            world.usage.note(client_id, environ["REQUEST_METHOD"], path, status[:3], now)

    return finish


def _refuse(world: World, protection: Protection, refusal: OAuthError) -> Response:
    """The refusal as problem details with its challenge (RFC 6750 §3, RFC 9457, RFC 9728 §5.1)."""
    log_refusal(refusal, reference(), current_route())
    resource = protection.resource or world.settings.api_resource
    challenge = bearer.challenge(
        refusal,
        realm=resource,
        resource_metadata=metadata_url(resource),
        scope=protection.challenge_scope if refusal.status in {401, 403} else "",
        **(protection.step_up if isinstance(refusal, InsufficientUserAuthentication) else {}),
    )
    named = {} if isinstance(refusal, MissingToken) else {"error": refusal.error}  # RFC 6750 §3.1
    response = problem(refusal.status, refusal.description, [("WWW-Authenticate", challenge)], **named)
    if isinstance(refusal, InvalidToken):
        response.headers["Cache-Control"] = "no-store"
    return response


def _too_many(counted: Counted) -> Response:
    told, members = over_the_limit(counted)
    log_refusal(TooManyRequests(told), reference(), current_route())
    return problem(429, told, **members)


def _unavailable(cause: StoreUnavailable) -> Response:
    current_app.logger.error("%s: %s [%s]", current_route(), cause, reference())
    again = [("Retry-After", str(cause.retry_after))]
    return problem(503, "the server cannot judge tokens or count calls now; try again", again)
