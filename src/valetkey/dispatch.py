"""Dispatch of machine endpoints (those that return data, not pages): call the handler of the requested endpoint.

An ``OAuthError`` of the handler, or an unavailable database, becomes an error response. Independent of Flask.
"""

from __future__ import annotations

from collections.abc import Iterator

from .activity.refusal_log import RequestInfo, log_refusal
from .endpoint import (
    ALLOW_ANY_ORIGIN,
    EXPOSED_HEADERS,
    Call,
    Endpoint,
    MachineRequest,
    MachineResponse,
)
from .protocol.bearer import format_challenge as bearer_challenge
from .protocol.cors import allowed_headers
from .protocol.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    OAuthError,
)
from .protocol.parameters import Parameters
from .protocol.refusal import build_refusal
from .protocol.request_body import parse_form_body, parse_json_object_body
from .protocol.secret import random_id
from .protocol.unavailable import BackendUnavailable
from .rate_limiting.address import caller_network
from .runtime import Runtime

_METHODS_WITH_BODY = ("POST", "PUT")


def dispatch(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> MachineResponse:
    """Handle one request to a machine endpoint (one that returns data, not a page) and return its response.

    Every error response is JSON as in RFC 6749 §5.2. Only ``OAuthError`` and ``BackendUnavailable`` are caught.
    """
    if request.method == "OPTIONS":
        return _options_response(endpoint, request)
    call = None
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        if request.method not in endpoint.methods:
            raise MethodNotAllowed(f"this endpoint supports {' and '.join(endpoint.methods)} only")
        call = _make_call(runtime, endpoint, request)
        response = endpoint.handler(call)
    except (OAuthError, BackendUnavailable) as cause:
        response = refuse(cause, runtime, endpoint, request, call)
    if endpoint.cors:
        return MachineResponse(response.status, response.body, (*response.headers, ALLOW_ANY_ORIGIN))
    return response


def _options_response(endpoint: Endpoint, request: MachineRequest) -> MachineResponse:
    """Return the response to an OPTIONS request, which may be a CORS preflight request.

    Any request header is allowed: clients add ``X-Requested-With`` or ``traceparent``, and scripts cannot send cookies.
    """
    methods = ", ".join((*endpoint.methods, "OPTIONS"))
    allow = ("Allow", methods)
    if not endpoint.cors:
        return MachineResponse(204, b"", (allow,))
    cors = (
        ALLOW_ANY_ORIGIN,
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", allowed_headers(request.requested_headers, "Authorization, Content-Type")),
        ("Access-Control-Max-Age", "600"),
        ("Vary", "Access-Control-Request-Headers"),
    )
    return MachineResponse(204, b"", (allow, *cors))


def _make_call(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> Call:
    if any("\0" in value for value in request.path_parameters.values()):
        raise NotFound(
            "there is nothing at this path", log_detail="the path contains NUL, which databases do not store"
        )
    now, method, form, json_body = runtime.clock(), request.method, Parameters({}), {}
    body = request.read_body() if method in _METHODS_WITH_BODY else b""
    if endpoint.reads_json and method in _METHODS_WITH_BODY:
        json_body = parse_json_object_body(body, request.content_type)
    elif not endpoint.reads_json and not endpoint.reads_raw_body and method == "POST":
        form = parse_form_body(body, request.content_type)
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
        body,
        request.content_type,
    )


def refuse(
    cause: OAuthError | BackendUnavailable,
    runtime: Runtime,
    endpoint: Endpoint,
    request: MachineRequest,
    call: Call | None = None,
) -> MachineResponse:
    """Log a refused request, count it for the audit log, and return its error response as JSON (RFC 6749 §5.2).

    Log line and response have the same reference, a random ID.

    :param call: what is known about the caller, for the log; ``None`` if the request was not parsed.
    """
    reference, network = random_id(12), caller_network(request.address)
    if call is None:
        log_refusal(cause, RequestInfo(reference, endpoint.name, None, None, network))
        runtime.failures.record_refusal(cause, runtime.clock(), network=network)
    else:
        client_id = call.client_id or call.claimed_client_id
        log_refusal(cause, RequestInfo(reference, endpoint.name, client_id, call.user, network))
        runtime.failures.record_refusal(cause, call.now, network=network, client_id=call.client_id, owner=call.user)
    refusal = build_refusal(cause, reference, _refusal_headers(cause, endpoint))
    return MachineResponse(refusal.status, refusal.oauth_body(), refusal.oauth_headers())


def _refusal_headers(cause: OAuthError | BackendUnavailable, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if endpoint.cors:
        yield EXPOSED_HEADERS
    if isinstance(cause, OAuthError):
        challenge = _challenge_header(cause, endpoint)
        if challenge is not None:
            yield "WWW-Authenticate", challenge
        if cause.status == 405:
            yield "Allow", ", ".join(endpoint.methods)


def _challenge_header(refusal: OAuthError, endpoint: Endpoint) -> str | None:
    if endpoint.uses_bearer_token and (refusal.status in {401, 403} or isinstance(refusal, InvalidRequest)):
        return bearer_challenge(refusal, realm=endpoint.name, **refusal.challenge_parameters)
    if refusal.status == 401:  # RFC 9110 §15.5.2 requires a challenge
        return f'Basic realm="{endpoint.name}", error="{refusal.error}"'
    return None
