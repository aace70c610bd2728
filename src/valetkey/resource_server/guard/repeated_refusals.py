"""Refusal, before Flask, of callers that keep calling after 429: they must not cost as much as other callers."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import NamedTuple

from flask import Flask
from werkzeug.routing import Rule

from valetkey.activity.refusal_log import is_logged
from valetkey.protocol.access_token import AccessToken
from valetkey.protocol.errors import OAuthError, TooManyRequests
from valetkey.protocol.refusal import PROBLEM_CONTENT_TYPE, build_refusal
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.admission import AdmissionResult, ChargePlan
from valetkey.rate_limiting.headers import rate_limit_fields
from valetkey.resource_server.context import ResourceServerContext
from valetkey.resource_server.protection import (
    PROTECTION_ATTRIBUTE,
    RouteProtection,
    rate_limit_problem,
)
from valetkey.web.flask_bypass import FlaskBypass
from valetkey.web.host_check import HostCheck
from valetkey.web.middleware import Middleware
from valetkey.web.refused_call import has_error_handler
from valetkey.web.request_body import has_body
from valetkey.web.request_id import request_id_of
from valetkey.web.wsgi import CALLER_KEY, OWN_RESPONSE_KEY, Environ, StartResponse

from .charging import FIELDS_KEY, LIMIT_REFUSAL_KEY
from .require_oauth import is_guard

_MAX_ROUTES = 2_000
_STATUS_LINE = "429 TOO MANY REQUESTS"
_CONVERTERS = "werkzeug.routing.converters"
_Key = tuple[str, str, int]  # method, path, and hash of the Authorization header


class _Refused(NamedTuple):
    """A call that is refused for certain."""

    result: AdmissionResult
    token: AccessToken
    now: float


class _RefusedRoute(NamedTuple):
    """A route whose limit has refused a caller: what the guard had found when it charged the call."""

    rule: Rule
    view: FunctionType
    protection: RouteProtection
    charge_plan: ChargePlan


class RepeatedRefusalMiddleware(Middleware):
    """Refuses a call with 429 if the same caller was refused within the last second, without Flask.

    Such a caller gets the response that the guard would give. A call goes through Flask if that would call anything of
    the host app's: hooks, signal receivers, error handlers, or a decorator outside of ``require_oauth``.

    Order: inside of ``ResponseHookMiddleware``, which adds header fields and counts the call; outside of
    ``RefusedCallMiddleware``, which needs no more than the response of the guard.
    """

    def __init__(self, app: Flask, context: ResourceServerContext, host_check: HostCheck, bypass: FlaskBypass) -> None:
        self._app = app
        self._context = context
        self._host_check = host_check
        self._bypass = bypass
        self._routes: dict[_Key, _RefusedRoute] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        authorization = environ.get("HTTP_AUTHORIZATION")
        if not authorization:  # an empty header counts as none
            return self.inner(environ, start_response)
        # Only a hash, because a token may be valid for months. It need not be unique: the token is verified.
        key = environ["REQUEST_METHOD"], environ["PATH_INFO"], hash(authorization)
        route = self._routes.get(key)
        if route is not None:
            refused = self._find_refusal(environ, authorization, route)
            if refused is not None:
                return self._respond(environ, start_response, route.rule, refused)
            self._routes.pop(key, None)
        environ.pop(LIMIT_REFUSAL_KEY, None)  # set if the app was called before with the same environment
        chunks = self.inner(environ, start_response)
        if LIMIT_REFUSAL_KEY in environ:
            self._remember(key, environ)
        return chunks

    def _remember(self, key: _Key, environ: Environ) -> None:
        """Store the route of a refused call, unless code of the host app runs before the guard."""
        context, protection, charge_plan, rule = environ[LIMIT_REFUSAL_KEY]
        if context is not self._context or rule is None:  # a mounted app has refused the call, or there is no route
            return
        view = self._app.view_functions[rule.endpoint]
        if (
            is_guard(view)
            and getattr(view, PROTECTION_ATTRIBUTE) is protection  # not one of a guard around it
            and (not rule.arguments or self._has_plain_converters())
        ):
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[key] = _RefusedRoute(rule, view, protection, charge_plan)

    def _has_plain_converters(self) -> bool:
        """Return whether all URL converters of the app are Werkzeug's: another one may call anything."""
        return all(converter.__module__ == _CONVERTERS for converter in self._app.url_map.converters.values())

    def _find_refusal(self, environ: Environ, authorization: str, route: _RefusedRoute) -> _Refused | None:
        """Return the refusal of a call that will be refused for certain, and needs nothing of Flask; else ``None``."""
        context, endpoint = self._context, route.rule.endpoint
        if (
            has_body(environ)  # a large one gets another response
            or self._bypass.needs_flask_for_view(environ, endpoint, route.view)
            or has_error_handler(self._app, TooManyRequests.status, endpoint)
            or self._host_check.refuses(environ)
        ):
            return None
        admission, now = context.admission, context.clock()
        try:
            token = context.verifier.verify_header(authorization, now)
            plan = admission.find_plan(token.counted_as, now)
        except (OAuthError, BackendUnavailable):
            return None
        charge_plan = admission.authorized_routes.get((token, route.protection, endpoint))
        if charge_plan is not route.charge_plan or charge_plan.plan != plan:
            return None
        result = admission.find_standing_refusal(charge_plan, now)
        return None if result is None else _Refused(result, token, now)

    def _respond(
        self, environ: Environ, start_response: StartResponse, rule: Rule, refused: _Refused
    ) -> Iterable[bytes]:
        context, (result, token, now) = self._context, refused
        detail, members = rate_limit_problem(result)
        cause = TooManyRequests(detail, is_repeated=True)
        if is_logged(cause):  # with details of the request that Flask has
            return self.inner(environ, start_response)
        environ[CALLER_KEY] = token, now, rule
        environ[FIELDS_KEY] = rate_limit_fields(result, context.admission.fields_style, now)
        environ[OWN_RESPONSE_KEY] = True
        body = build_refusal(cause, request_id_of(environ)).problem_body(**members)
        start_response(_STATUS_LINE, [("Content-Type", PROBLEM_CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
