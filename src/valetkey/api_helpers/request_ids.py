"""Request ids: the caller's ``Request-Id`` where it is well formed, or a new one; in answer, log and problem."""

from __future__ import annotations

from flask import Flask

from valetkey.web.request_id import RequestIdFilter, make_request_id_hook
from valetkey.web.request_id import request_id as request_id
from valetkey.web.wsgi import add_response_hooks

__all__ = ["RequestIdFilter", "request_id", "use_request_ids"]


def use_request_ids(app: Flask, prefix: str = "") -> None:
    """Tell the id with each answer below a prefix; an app with a Valetkey does so below ``api_prefix`` already."""
    add_response_hooks(app, make_request_id_hook(prefix))
