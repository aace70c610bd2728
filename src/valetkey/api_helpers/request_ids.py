"""Add request IDs to responses, logs and problem details: the caller's ``Request-Id`` if well formed, else a new ID."""

from __future__ import annotations

from flask import Flask

from valetkey.web.middleware import ResponseHookMiddleware, add_middleware
from valetkey.web.request_id import RequestIdFilter, make_request_id_hook
from valetkey.web.request_id import request_id as request_id

__all__ = ["RequestIdFilter", "request_id", "use_request_ids"]


def use_request_ids(app: Flask, prefix: str = "") -> None:
    """Add a ``Request-Id`` header to every response below a path prefix.

    The ID is that of the request (``Request-Id`` or ``X-Request-Id``) if it is well formed, else a new ID;
    ``request_id()`` returns it. An app with ``Valetkey`` has this for its ``api_prefix`` already.

    :param prefix: path prefix, such as ``/api``; an empty prefix means the whole app.
    """
    add_middleware(app, ResponseHookMiddleware(app, make_request_id_hook(prefix)))
