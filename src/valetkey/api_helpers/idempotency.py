"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): a repeated POST gets the stored response."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from flask import Response, after_this_request, current_app, request

from valetkey.protocol.size import parse_size
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.web.async_views import ensure_sync
from valetkey.web.problem_responses import Problem, refuse
from valetkey.web.refused_call import CallRefused
from valetkey.web.request_id import request_id
from valetkey.web.wsgi import TOKEN_KEY

from .body_size import lower_body_limit
from .context import View, becomes_response, caller_key, find_runtime, is_caller_identified

if TYPE_CHECKING:
    from valetkey.runtime import Runtime

    from .idempotency_store import IdempotencyReservation

IDEMPOTENT_ATTRIBUTE = "__valetkey_idempotent__"  # the attribute of a view that holds its IdempotencyOptions
# In the WSGI environment: this request's unfinished reservations, by the digest of the key; None while the view runs.
_UNFINISHED_KEY = "valetkey.idempotency"
_METHODS = frozenset({"POST", "PATCH"})
_FORM_TYPES = frozenset({"multipart/form-data", "application/x-www-form-urlencoded", "application/x-url-encoded"})
_RETRYABLE_STATUSES = frozenset({408, 425, 429})  # temporary errors: the same request may succeed later
_is_quoted_key = re.compile(
    r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"'
).fullmatch  # a structured-field string (RFC 9651 §3.3.3)
_is_unquoted_key = re.compile(r"[!#-\[\]-~]{1,255}").fullmatch
_log = logging.getLogger("valetkey")


@dataclass(frozen=True, slots=True)
class IdempotencyOptions:
    """Describe a view with ``@idempotent`` in the OpenAPI document."""

    required: bool  # whether requests need the header
    max_bytes: int  # of the body of a request with the header


def idempotent(
    view: View | None = None, /, *, required: bool = False, gives_up_after: float = 60, largest: str | int = "1 MiB"
) -> Any:
    """Decorate a view so that clients can safely repeat POST and PATCH requests with an ``Idempotency-Key`` header.

    The view runs once for each key. For 24 hours, the same request with the same key gets the stored response, with the
    header ``Idempotent-Replayed: true``. A key belongs to the client, the user, the method and the URL without its
    query. Two forms are the same if their fields and files are: a multipart form may have another boundary. Responses
    are stored encrypted in Valetkey's database, so the app needs a ``Valetkey``; they are not stored if their status
    is 5xx, 408, 425 or 429, so that the request can be tried again. A streamed response is read before it is sent; one
    that is larger than ``largest`` is stored without its body when that much of it has been read.

    Without an access token, as in a ``@public`` view, nothing safe identifies the caller: the view runs once for each
    key and network too, but a repeated request gets 409 instead of the response, which may be another caller's.

    Put it below ``@require_oauth``, and above decorators that run the view again or commit a transaction.

    :param required: refuse POST and PATCH requests without the header.
    :param gives_up_after: seconds after which the key of a request that never finished, because its process was
        killed, can be used again. Must be longer than the view ever takes.
    :param largest: largest request body, and largest response body that is stored: a number of bytes, or text such as
        ``1 MiB``. After a larger response, the key gets 409 instead of the response.
    :raises Problem: 400 if the key is malformed, or missing although required; 409 while the first request is being
        processed; 413 if the body is too large; 422 if the key was used for a different request; 503 if the database
        is unavailable.
    :raises RuntimeError: if the app has no ``Valetkey``, or the decorator is above ``@require_oauth``.
    :raises ValueError: if ``largest`` cannot be parsed.
    """
    if view is None:
        return lambda view: idempotent(view, required=required, gives_up_after=gives_up_after, largest=largest)
    call, max_bytes = ensure_sync(view), parse_size(largest)

    @functools.wraps(view)
    def idempotent_view(*args: Any, **kwargs: Any) -> Any:
        key = _read_key(request.headers.get("Idempotency-Key")) if request.method in _METHODS else None
        if key is None:
            if required and request.method in _METHODS:
                raise Problem(400, "an Idempotency-Key header is required: send a new random string for each operation")
            return call(*args, **kwargs)
        key_digest = _key_digest(key)
        unfinished: dict[bytes, IdempotencyReservation | None] = request.environ.setdefault(_UNFINISHED_KEY, {})
        reservation: IdempotencyReservation | Response | None
        if key_digest in unfinished:  # a decorator around this one runs the view again
            reservation = unfinished[key_digest]
        else:
            reservation = _reserve(key_digest, gives_up_after, max_bytes)
        if reservation is None:  # a view with the decorator calls this one: its response is stored
            return call(*args, **kwargs)
        if isinstance(reservation, Response):
            return reservation
        unfinished[key_digest] = None
        try:
            response = _call_below_guard(call, args, kwargs)
        except BaseException as error:  # decorators around this one must see it: it gets its response later
            if isinstance(error, Exception) and not isinstance(error, CallRefused) and becomes_response(error):
                unfinished[key_digest] = reservation
                after_this_request(functools.partial(_finish_request, key_digest, max_bytes))
            else:
                del unfinished[key_digest]
                _complete(reservation, None, None)
            raise
        del unfinished[key_digest]
        return _finish(reservation, max_bytes, response)

    setattr(idempotent_view, IDEMPOTENT_ATTRIBUTE, IdempotencyOptions(required, max_bytes))
    return idempotent_view


def _read_key(header: str | None) -> str | None:
    """Return the idempotency key in the value of an ``Idempotency-Key`` header, or None if there is no header.

    draft-ietf-httpapi-idempotency-key-header puts the key in quotes; a key without quotes is accepted too.

    :raises Problem: 400 if the value is malformed.
    """
    if header is None:
        return None
    quoted = _is_quoted_key(header.strip())
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if not _is_unquoted_key(header.strip()):
        raise Problem(400, 'the Idempotency-Key is malformed: send up to 255 characters in quotes, as "8e03978e-40d5"')
    return header.strip()


def _key_digest(key: str) -> bytes:
    """Return the SHA-256 digest of an idempotency key and of what it belongs to: caller, method and URL.

    :raises RuntimeError: if the app has no ``Valetkey``.
    """
    url = f"{request.host.lower()}{request.script_root}{request.path}"
    caller = caller_key(_require_runtime().settings.trusted_proxies)
    return hashlib.sha256(f"{caller}\0{request.method}\0{url}\0{key}".encode()).digest()


def _require_runtime() -> Runtime:
    runtime = find_runtime()
    if runtime is None:
        raise RuntimeError("@idempotent stores responses in Valetkey's database: add Valetkey(app)")
    return runtime


def _reserve(key_digest: bytes, gives_up_after: float, max_bytes: int) -> IdempotencyReservation | Response:
    """Reserve an idempotency key for the current request, or return the stored response of its first request.

    :raises Problem: 409, 413, 422 or 503, as described for ``idempotent``.
    """
    from .idempotency_store import reserve  # imported here because it needs a database; the other helpers do not

    runtime = _require_runtime()
    lower_body_limit(max_bytes)
    try:
        # A caller without a token cannot be identified: another caller with the same key must not get the response.
        is_repeatable = is_caller_identified()
        return reserve(runtime, key_digest, _request_digest(), gives_up_after, is_repeatable, runtime.clock())
    except BackendUnavailable as cause:
        refusal = refuse(cause)
        raise Problem(refusal.status, refusal.description, refusal.headers) from cause


def _request_digest() -> bytes:
    """Return the SHA-256 digest of the current request's query string, media type and body.

    A form is digested by its fields and files: a client that sends it again may choose another multipart boundary. A
    hook of the host app may have parsed it, which consumes the body.
    """
    digest = hashlib.sha256(f"{request.query_string.decode('latin-1')}\0{request.mimetype}\0".encode())
    body = request.get_data(cache=True)  # before the form is parsed, so that the view can read the body, too
    if request.mimetype not in _FORM_TYPES:
        digest.update(body)
        return digest.digest()
    for name, value in request.form.items(multi=True):
        _add_parts(digest, b"field", name.encode(), value.encode())
    for name, file in request.files.items(multi=True):
        position = file.stream.tell()
        file.stream.seek(0)
        content = file.stream.read()
        file.stream.seek(position)
        _add_parts(digest, b"file", name.encode(), repr((file.filename, file.content_type)).encode(), content)
    return digest.digest()


def _add_parts(digest: hashlib._Hash, *parts: bytes) -> None:
    """Add byte strings to a digest, each with its length: other strings never have the same digest."""
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part)


def _call_below_guard(call: View, args: Any, kwargs: Any) -> Response:
    """Return the response of a view, if the view does not verify the access token itself.

    :raises RuntimeError: if the access token is verified inside ``call``, because the idempotency key is then not bound
        to the token's client and user.
    """
    had_token = TOKEN_KEY in request.environ
    try:
        return current_app.make_response(call(*args, **kwargs))
    finally:
        if not had_token and TOKEN_KEY in request.environ:
            raise RuntimeError("put @idempotent below @require_oauth: a key belongs to the client and its user")


def _is_temporary_error(response: Response) -> bool:
    return response.status_code >= 500 or response.status_code in _RETRYABLE_STATUSES


def _read_body(response: Response, max_bytes: int) -> bytes | None:
    """Return the body of a response, or None if it is larger than ``max_bytes``.

    A streamed body is read up to ``max_bytes`` only; what was read is sent, too.

    :raises Exception: what the generator of a streamed body raises.
    """
    if response.is_sequence:
        body = b"".join(response.iter_encoded())
        return body if len(body) <= max_bytes else None
    if (response.content_length or 0) > max_bytes:
        return None
    stream, size = response.iter_encoded(), 0
    chunks: list[bytes] = []
    close = getattr(response.response, "close", None)
    if close is not None:
        response.call_on_close(close)
    response.direct_passthrough = False
    response.response = chunks
    try:
        for chunk in stream:
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                response.response = chain(chunks, stream)
                return None
    except BaseException:
        response.close()
        raise
    return b"".join(chunks)


def _finish(reservation: IdempotencyReservation, max_bytes: int, response: Response) -> Response:
    """Return a response, after storing it for its idempotency key; its body only if it has at most ``max_bytes``."""
    try:
        body = None if _is_temporary_error(response) else _read_body(response, max_bytes)
    except BaseException:
        _complete(reservation, None, None)
        raise
    _complete(reservation, response, body)
    return response


def _finish_request(key_digest: bytes, max_bytes: int, response: Response) -> Response:
    """Return the response to an exception of the view, after storing it like ``_finish``.

    It is not stored if the view was run again and returned a response, which is stored already.
    """
    reservation = request.environ[_UNFINISHED_KEY].pop(key_digest, None)
    return response if reservation is None else _finish(reservation, max_bytes, response)


def _complete(reservation: IdempotencyReservation, response: Response | None, body: bytes | None) -> None:
    """Store the response of a reserved idempotency key, or release the key so that the request can be tried again.

    The key is released if the view returned no response (None) or a response with status 5xx, 408, 425 or 429. An
    unavailable database is only logged, because the view has already run.

    :param body: the body of the response, or None if it is too large to be stored.
    """
    try:
        if response is None or _is_temporary_error(response):
            reservation.release()
        else:
            reservation.save_response(response, body)
    except BackendUnavailable as cause:
        _log.error("idempotency: the response was not stored: %s [%s]", cause, request_id())
