"""The request ID: identifies a request in its response, in the log, and in error messages."""

from __future__ import annotations

import logging
import re

from flask import has_request_context, request

from valetkey.protocol.secret import random_id

from .wsgi import Environ, Headers, ResponseHook, is_below

REQUEST_ID_HEADER = "Request-Id"
_REQUEST_ID_KEY = "valetkey.reference"  # in the WSGI environment: an application context may outlive the request
# No characters that break a log line, and none of Valetkey's secrets (vk_...), as the ID is logged.
_is_well_formed = re.compile(r"(?!.*vk_)[A-Za-z0-9._~+/=:@-]{1,64}").fullmatch


def request_id() -> str:
    """Return the ID of the current request, which is the same during the whole request.

    It is the caller's ``Request-Id`` or ``X-Request-Id`` header if that is well formed (at most 64 letters, digits and
    ``._~+/=:@-``), else a new random ID. Needs a request context.
    """
    return request_id_of(request.environ)


def request_id_of(environ: Environ) -> str:
    """Return the ID of a request; see ``request_id``."""
    value: str | None = environ.get(_REQUEST_ID_KEY)
    if value is None:
        header = environ.get("HTTP_REQUEST_ID") or environ.get("HTTP_X_REQUEST_ID")
        value = environ[_REQUEST_ID_KEY] = header if header and _is_well_formed(header) else random_id(12)
    return value


def make_request_id_hook(prefix: str) -> ResponseHook:
    """Return a function for ``ResponseHookMiddleware`` that adds the ``Request-Id`` header below a path prefix.

    :param prefix: path of the API, such as ``/api``.
    """

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if is_below(prefix, environ["PATH_INFO"]):
            headers.append((REQUEST_ID_HEADER, request_id_of(environ)))

    return add


class RequestIdFilter(logging.Filter):
    """Logging filter that sets ``request_id`` of each record to the ID of the current request; ``-`` if there is none.

    Add it to a handler or logger, and use ``%(request_id)s`` in the format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id() if has_request_context() else "-"
        return True
