"""Dispatch of machine endpoints (those that return data, not pages): call the handler of the requested endpoint.

An ``OAuthError`` of the handler, or an unavailable database, becomes an error response. Independent of Flask.
"""

from __future__ import annotations

import json
import logging
import math

from .activity.refusal_log import log_refusal
from .endpoint import (
    ALLOW_ANY_ORIGIN,
    EXPOSED_HEADERS,
    JSON_HEADERS,
    PREFLIGHT_HEADERS,
    Call,
    Endpoint,
    MachineRequest,
    MachineResponse,
)
from .protocol.bearer import format_challenge as bearer_challenge
from .protocol.errors import InvalidRequest, MethodNotAllowed, OAuthError, TemporarilyUnavailable
from .protocol.parameters import Parameters
from .protocol.request_body import parse_form_body, parse_json_object_body
from .protocol.secret import random_id
from .runtime import Runtime
from .storage.engine.transaction import StoreUnavailable

_log = logging.getLogger("valetkey")


def dispatch(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> MachineResponse:
    """Handle one request to a machine endpoint (one that returns data, not a page) and return its response.

    Every error response is JSON as in RFC 6749 §5.2; exceptions other than ``OAuthError`` and ``StoreUnavailable`` are
    not caught.
    """
    if request.method == "OPTIONS":
        return _options_response(endpoint)
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        if request.method not in endpoint.methods:
            raise MethodNotAllowed(f"this endpoint answers {' and '.join(endpoint.methods)} only")
        response = endpoint.handler(_make_call(runtime, endpoint, request))
    except OAuthError as refusal:
        response = refusal_response(refusal, endpoint, request)
    except StoreUnavailable as cause:
        _log.error("%s: %s", endpoint.name, cause)
        outage = TemporarilyUnavailable("the server cannot answer now; try again", log_detail=str(cause), retry_after=2)
        response = refusal_response(outage, endpoint, request)
    if endpoint.cors:
        return MachineResponse(response.status, response.body, (*response.headers, ALLOW_ANY_ORIGIN))
    return response


def _options_response(endpoint: Endpoint) -> MachineResponse:
    methods = ", ".join((*endpoint.methods, "OPTIONS"))
    cors = (*PREFLIGHT_HEADERS, ("Access-Control-Allow-Methods", methods))
    return MachineResponse(204, b"", cors if endpoint.cors else (("Allow", methods),))


def _make_call(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> Call:
    now, method, form, json_body = runtime.clock(), request.method, Parameters({}), {}
    if endpoint.reads_json and method in {"POST", "PUT"}:
        json_body = parse_json_object_body(request.body, request.content_type)
    elif not endpoint.reads_json and not endpoint.reads_raw_body and method == "POST":
        form = parse_form_body(request.body, request.content_type)
    return Call(
        runtime,
        now,
        form,
        request.authorization,
        request.address,
        method,
        request.query,
        json_body,
        request.path_parameters,
        request.body,
        request.content_type,
    )


def refusal_response(refusal: OAuthError, endpoint: Endpoint, request: MachineRequest) -> MachineResponse:
    """Log a refused request and return its error response as JSON (RFC 6749 §5.2).

    Log line and response have the same reference, a random ID.
    """
    reference = random_id(12)
    log_refusal(refusal, reference, endpoint.name)
    headers = [*JSON_HEADERS, ("Valetkey-Reference", reference)]
    if endpoint.cors:
        headers.append(EXPOSED_HEADERS)
    challenge = _challenge_header(refusal, endpoint)
    if challenge is not None:
        headers.append(("WWW-Authenticate", challenge))
    if refusal.status == 405:
        headers.append(("Allow", ", ".join(endpoint.methods)))
    if refusal.retry_after:
        headers.append(("Retry-After", str(max(1, math.ceil(refusal.retry_after)))))
    return MachineResponse(refusal.status, json.dumps(refusal.body()).encode(), tuple(headers))


def _challenge_header(refusal: OAuthError, endpoint: Endpoint) -> str | None:
    if endpoint.uses_bearer_token and (refusal.status in {401, 403} or isinstance(refusal, InvalidRequest)):
        return bearer_challenge(refusal, realm=endpoint.name, **refusal.challenge_parameters)
    if refusal.status == 401:  # RFC 9110 §15.5.2 requires a challenge
        return f'Basic realm="{endpoint.name}", error="{refusal.error}"'
    return None
