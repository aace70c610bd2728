"""Log of requests that got an error response, for the operator."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, replace

from valetkey.protocol.errors import InvalidToken, OAuthError, TooManyRequests
from valetkey.protocol.unavailable import BackendUnavailable

_log = logging.getLogger("valetkey")
# Secrets of Valetkey and JWTs are masked, in whichever parameter they were sent by mistake.
_SECRET_PATTERN = re.compile(r"vk_[a-z]{2,3}_\w+|eyJ[\w-]+\.[\w.-]*")
_is_one_word = re.compile(r"[^\s\"=\[\]]+").fullmatch
_MAX_FIELD_LENGTH = 200


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """Details of a request that got an error response, for the log. A field is ``None`` if it is unknown.

    :param reference: id that is also in the response, to find the log line of a response.
    :param endpoint: name of the endpoint, or URL rule of the Flask route, that refused the request.
    :param client_id: the client. Unless it was authenticated, the request only claims to be this client's.
    :param user: ``sub`` of the resource owner.
    :param network: the caller's network, as rate limits count it.
    """

    reference: str
    endpoint: str
    client_id: str | None = None
    user: str | None = None
    network: str | None = None


def is_logged(cause: OAuthError | BackendUnavailable) -> bool:
    """Return whether ``log_refusal`` writes a line, by the level that the operator has set."""
    return _log.isEnabledFor(_level_of(cause))


def log_refusal(cause: OAuthError | BackendUnavailable, request_info: RequestInfo) -> None:
    """Log one line about a refused request: the error, and the reason that is not sent to the client.

    Valetkey's secrets and JWTs are masked. The level is ``ERROR`` if the server failed or a backend does not respond
    (status 500 or above), ``DEBUG`` if the caller was refused for the same reason within the last second, else
    ``INFO``: a caller that ignores 429 must not fill the log.
    """
    level = _level_of(cause)
    if isinstance(cause, BackendUnavailable):
        _write(level, "unavailable at %s: %s", (request_info.endpoint, _mask(str(cause))), request_info)
        return
    if isinstance(cause, InvalidToken) and cause.client_id is not None:
        request_info = replace(request_info, client_id=cause.client_id, user=cause.user)
    detail = f" ({_mask(cause.log_detail)})" if cause.log_detail else ""
    message = f"{_mask(cause.description)}{detail}"
    _write(level, "refused %s at %s: %s", (cause.error, request_info.endpoint, message), request_info)


def log_error_response(status: int, cause: str, request_info: RequestInfo) -> None:
    """Log one line about an error response that is not an OAuth error, such as 404 or 500.

    The level is ``ERROR`` if the status is 500 or above, else ``INFO``.

    :param cause: name of the exception that the response is for, or a sentence that says why.
    """
    level = logging.ERROR if status >= 500 else logging.INFO
    _write(level, "responded with %d at %s: %s", (status, request_info.endpoint, cause), request_info)


def _level_of(cause: OAuthError | BackendUnavailable) -> int:
    if isinstance(cause, BackendUnavailable) or cause.status >= 500:
        return logging.ERROR
    return logging.DEBUG if isinstance(cause, TooManyRequests) and cause.is_repeated else logging.INFO


def _write(level: int, template: str, arguments: tuple[object, ...], request_info: RequestInfo) -> None:
    """Log a line that ends with the reference, and then the known ones of client, user and network.

    The record has them as attributes, too, for formatters such as ``JsonLogFormatter``.
    """
    fields = {name: _mask(getattr(request_info, name)) for name in ("client_id", "user", "network")}
    present = {name: value for name, value in fields.items() if value is not None}
    template += " [%s]" + "".join(f" {name}=%s" for name in present)
    extra = {"reference": request_info.reference, **fields}
    _log.log(level, template, *arguments, request_info.reference, *map(_quote, present.values()), extra=extra)


def _quote(value: str) -> str:
    """Return the value in quotes if it has spaces or signs with which it could look like several fields."""
    return value if _is_one_word(value) else json.dumps(value, ensure_ascii=False)


def _mask(value: object) -> str | None:
    """Return a value as text without secrets. It need not be text: an app's own user id may be a number."""
    return None if value is None else _SECRET_PATTERN.sub("...", str(value))[:_MAX_FIELD_LENGTH]
