"""Request ids: the caller's ``Request-Id`` where it is well formed, or a new one; in answer, log and problem."""

from __future__ import annotations

from flask import Flask

from valetkey.web.request_id import RequestIdFilter, add_request_id
from valetkey.web.request_id import reference as request_id
from valetkey.web.wsgi import finish_answers

__all__ = ["RequestIdFilter", "request_id", "use_request_ids"]


def use_request_ids(app: Flask, prefix: str = "") -> None:
    """Tell the id with each answer below a prefix; an app with a Valetkey does so below ``api_prefix`` already."""
    finish_answers(app, add_request_id(prefix))
