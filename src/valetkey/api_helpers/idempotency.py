"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): a repeated POST is answered, not done again."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, current_app, request

from valetkey.protocol.size import parse_size
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.problem_responses import Problem
from valetkey.web.request_id import request_id
from valetkey.web.wsgi import TOKEN_KEY

from .body_size import check_body_size
from .context import View, caller_key, ensure_sync, find_runtime

if TYPE_CHECKING:
    from .idempotency_store import IdempotencyReservation

IDEMPOTENT_ATTRIBUTE = "__valetkey_idempotent__"  # the attribute of a view: whether a key is required
_METHODS = frozenset({"POST", "PATCH"})
_RETRYABLE_STATUSES = frozenset({408, 425, 429})  # refusals of the moment: another try may get through
_is_quoted_key = re.compile(
    r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"'
).fullmatch  # a structured-field string (RFC 9651 §3.3.3)
_is_unquoted_key = re.compile(r"[!#-\[\]-~]{1,255}").fullmatch
_log = logging.getLogger("valetkey")


def idempotent(
    view: View | None = None, /, *, required: bool = False, gives_up_after: float = 60, largest: str | int = "1 MiB"
) -> Any:
    """Let POST and PATCH be repeated: within 24 hours the same key of the same app and user gets the same answer.

    It goes below ``@require_oauth``. Answers with 5xx are not kept, so that such a request can be tried again.

    :param required: whether a request without ``Idempotency-Key`` is refused.
    :param gives_up_after: seconds after which the key of a request that never ended (its process was killed) is
        free again; more than the view ever takes.
    :param largest: the most that a request, or an answer that is to be kept, may have.
    :raises Problem: 400 on a missing or malformed key, 409 while the first request is at work, 422 where the key came
        with another request, 413 on a larger body, 503 where the store does not answer.
    """
    if view is None:
        return lambda view: idempotent(view, required=required, gives_up_after=gives_up_after, largest=largest)
    call, most = ensure_sync(view), parse_size(largest)

    @functools.wraps(view)
    def once(*args: Any, **kwargs: Any) -> Any:
        key = _read_key(request.headers.get("Idempotency-Key")) if request.method in _METHODS else None
        if key is None:
            if required and request.method in _METHODS:
                raise Problem(400, "send an Idempotency-Key: a new random text for each thing that is to be done")
            return call(*args, **kwargs)
        claimed = _reserve(key, gives_up_after, most)
        if isinstance(claimed, Response):
            return claimed
        try:
            response = _call_view(call, args, kwargs)
        except BaseException:
            _complete(claimed, None)
            raise
        _complete(claimed, response)
        return response

    setattr(once, IDEMPOTENT_ATTRIBUTE, required)
    return once


def _read_key(header: str | None) -> str | None:
    """The key; as the draft writes it, in quotes, or as it is.

    :raises Problem: 400 where it is malformed.
    """
    if header is None:
        return None
    quoted = _is_quoted_key(header.strip())
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if not _is_unquoted_key(header.strip()):
        raise Problem(400, 'the Idempotency-Key is malformed: send up to 255 characters in quotes, as "8e03978e-40d5"')
    return header.strip()


def _reserve(key: str, gives_up_after: float, max_bytes: int) -> IdempotencyReservation | Response:
    """The right to do the work, or the answer of whoever had it.

    :raises Problem: as ``idempotent`` says.
    """
    from .idempotency_store import reserve  # here: it needs a database; the other helpers do not

    runtime = find_runtime()
    if runtime is None:
        raise RuntimeError("@idempotent keeps answers in the store of Valetkey: add Valetkey(app)")
    check_body_size(max_bytes)
    where = f"{caller_key(runtime)}\0{request.method}\0{request.path}\0{key}"
    try:
        return reserve(runtime, hashlib.sha256(where.encode()).digest(), _request_digest(), gives_up_after, max_bytes)
    except StoreUnavailable as cause:
        _log.error("idempotency: %s [%s]", cause, request_id())
        raise Problem(503, "the server cannot answer now; try again", [("Retry-After", "2")]) from cause


def _request_digest() -> bytes:
    """A digest of what was asked: query, type and body."""
    parsed = "form" in vars(request)  # a hook of the host's has parsed and so consumed it
    body = urlencode(list(request.form.items(multi=True))).encode() if parsed else request.get_data(cache=True)
    told = f"{request.query_string.decode('latin-1')}\0{request.mimetype}\0".encode()
    return hashlib.sha256(told + body).digest()


def _call_view(call: View, args: Any, kwargs: Any) -> Response:
    """The view's answer, or that of the app's error handlers."""
    before = TOKEN_KEY in request.environ
    try:
        rv = call(*args, **kwargs)
    except Exception as problem:
        rv = current_app.handle_user_exception(problem)  # raises it again where nobody handles it
    if not before and TOKEN_KEY in request.environ:
        raise RuntimeError("@idempotent goes below @require_oauth: the key belongs to the app and its user")
    return current_app.make_response(rv)


def _complete(reservation: IdempotencyReservation, response: Response | None) -> None:
    """Keep the answer, or free the key; the work is done, so a store that fails now refuses nothing."""
    passing = response is None or response.status_code >= 500 or response.status_code in _RETRYABLE_STATUSES
    try:
        reservation.release() if passing or response is None else reservation.save_response(response)
    except StoreUnavailable as cause:
        _log.error("idempotency: the answer is not kept: %s [%s]", cause, request_id())
