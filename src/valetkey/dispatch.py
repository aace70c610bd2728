"""The dispatch of machine endpoints: a request in, the endpoint's answer or its refusal out. No Flask here."""

from __future__ import annotations

import json
import logging
import math

from .activity.refusals import log_refusal
from .endpoint import (
    ANY_ORIGIN,
    JSON_HEADERS,
    PREFLIGHT_HEADERS,
    TOLD_TO_SCRIPTS,
    Answer,
    Call,
    Endpoint,
    MachineRequest,
)
from .protocol.bearer import challenge as bearer_challenge
from .protocol.errors import InvalidRequest, MethodNotAllowed, OAuthError, TemporarilyUnavailable
from .protocol.parameters import Parameters
from .protocol.request_body import read_form_body, read_json_body
from .protocol.secret import random_id
from .runtime import Runtime
from .storage.engine.transaction import StoreUnavailable

_log = logging.getLogger("valetkey")


def dispatch(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> Answer:
    """Answer one request to a machine endpoint; every refusal is the specification's JSON."""
    if request.method == "OPTIONS":
        return _options(endpoint)
    try:
        if not runtime.is_ready:
            runtime.get_ready()
        if request.method not in endpoint.methods:
            raise MethodNotAllowed(f"this endpoint answers {' and '.join(endpoint.methods)} only")
        answer = endpoint.answer(_call(runtime, endpoint, request))
    except OAuthError as refusal:
        answer = refusal_answer(refusal, endpoint, request)
    except StoreUnavailable as cause:
        _log.error("%s: %s", endpoint.name, cause)
        down = TemporarilyUnavailable("the server cannot answer now; try again", detail=str(cause), retry_after=2)
        answer = refusal_answer(down, endpoint, request)
    return Answer(answer.status, answer.body, (*answer.headers, ANY_ORIGIN)) if endpoint.cors else answer


def _options(endpoint: Endpoint) -> Answer:
    methods = ", ".join((*endpoint.methods, "OPTIONS"))
    cors = (*PREFLIGHT_HEADERS, ("Access-Control-Allow-Methods", methods))
    return Answer(204, b"", cors if endpoint.cors else (("Allow", methods),))


def _call(runtime: Runtime, endpoint: Endpoint, request: MachineRequest) -> Call:
    now, method, form, document = runtime.clock(), request.method, Parameters({}), {}
    if endpoint.reads_json and method in {"POST", "PUT"}:
        document = read_json_body(request.body, request.content_type)
    elif not endpoint.reads_json and not endpoint.reads_itself and method == "POST":
        form = read_form_body(request.body, request.content_type)
    return Call(
        runtime,
        now,
        form,
        request.authorization,
        request.address,
        method,
        request.query,
        document,
        request.named,
        request.body,
        request.content_type,
    )


def refusal_answer(refusal: OAuthError, endpoint: Endpoint, request: MachineRequest) -> Answer:
    """The refusal as JSON (RFC 6749 §5.2) and in the log, under one reference."""
    reference = random_id(12)
    log_refusal(refusal, reference, endpoint.name)
    headers = [*JSON_HEADERS, ("Valetkey-Reference", reference)]
    if endpoint.cors:
        headers.append(TOLD_TO_SCRIPTS)
    challenge = _challenge(refusal, endpoint)
    if challenge is not None:
        headers.append(("WWW-Authenticate", challenge))
    if refusal.status == 405:
        headers.append(("Allow", ", ".join(endpoint.methods)))
    if refusal.retry_after:
        headers.append(("Retry-After", str(max(1, math.ceil(refusal.retry_after)))))
    return Answer(refusal.status, json.dumps(refusal.body()).encode(), tuple(headers))


def _challenge(refusal: OAuthError, endpoint: Endpoint) -> str | None:
    if endpoint.bearer and (refusal.status in {401, 403} or isinstance(refusal, InvalidRequest)):
        return bearer_challenge(refusal, realm=endpoint.name, **refusal.challenge)
    if refusal.status == 401:  # RFC 9110 §15.5.2: always with a challenge
        return f'Basic realm="{endpoint.name}", error="{refusal.error}"'
    return None
