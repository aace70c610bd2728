"""What one request is called: in its answer, in the log, and in the problem that it met."""

from __future__ import annotations

import logging
import re

from flask import has_request_context, request

from valetkey.protocol.secret import random_id

from .wsgi import Environ, Headers, ResponseHook

REQUEST_ID_HEADER = "Request-Id"
_REQUEST_ID_KEY = "valetkey.reference"  # in the WSGI environment: an application context may outlive the request
# Nothing that breaks a line of the log; and no secret of ours, for it would stand there.
_is_well_formed = re.compile(r"(?!.*vk_)[A-Za-z0-9._~+/=:@-]{1,64}").fullmatch


def request_id() -> str:
    """The id of this request: the caller's ``Request-Id`` or ``X-Request-Id`` if it is well formed, or a new one."""
    return _request_id_of(request.environ)


def _request_id_of(environ: Environ) -> str:
    found: str | None = environ.get(_REQUEST_ID_KEY)
    if found is None:
        given = environ.get("HTTP_REQUEST_ID") or environ.get("HTTP_X_REQUEST_ID")
        found = environ[_REQUEST_ID_KEY] = given if given and _is_well_formed(given) else random_id(12)
    return found


def make_request_id_hook(prefix: str) -> ResponseHook:
    """Answers below the prefix tell the request's id."""
    below = f"{prefix}/"

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if environ["PATH_INFO"].startswith(below):
            headers.append((REQUEST_ID_HEADER, _request_id_of(environ)))

    return add


class RequestIdFilter(logging.Filter):
    """Gives each log record ``request_id``: the id of the request that it is about, or ``-``."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id() if has_request_context() else "-"
        return True
