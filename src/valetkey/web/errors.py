"""What nobody handled: problem details below the API's prefix, JSON or a page below our own paths."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as AnyResponse

from valetkey.settings import Settings

from . import pages
from .problems import Problem, json_refusal, problem
from .reference import reference
from .state import current_route

_OWN, _MACHINES = "valetkey_", ("valetkey_machines", "valetkey_resource_server")
_log = logging.getLogger("valetkey")


def answer_errors(app: Flask, settings: Settings) -> None:
    """Answer what would else be Flask's bare pages; what the host's own error handlers answer stays as it is.

    An error that nobody handled is what Flask hands to ``make_response`` itself: there is the one place to see it.
    """
    original = app.make_response

    def make_response(rv: Any) -> Response:
        if isinstance(rv, HTTPException):
            answer = _answer(rv, settings)
            if answer is not None:
                return original(answer)
        return original(rv)

    app.make_response = make_response  # type: ignore[method-assign]


def _answer(error: HTTPException, settings: Settings) -> AnyResponse | None:
    """Our answer; None where the error is not ours to answer, or brings an answer along."""
    if error.code is None or error.code < 400 or error.response is not None or isinstance(error, Problem):
        return None
    endpoint = request.endpoint or _endpoint_of_other_methods(error)
    if (endpoint or "").startswith(_OWN):
        return _own(error, endpoint or "")
    if endpoint is None and _is_below(settings.oauth_path):
        return _own(error, _OWN if request.accept_mimetypes.accept_html else _MACHINES[0])
    if settings.problem_details and _is_below(settings.api_prefix):
        return _api_problem(error)
    return None


def _is_below(prefix: str) -> bool:
    return request.path == prefix or request.path.startswith(f"{prefix}/")


def _api_problem(error: HTTPException) -> Response:
    """RFC 9457: the error's own headers (Allow, Retry-After, WWW-Authenticate) stay."""
    status = error.code or 500
    _log_error(error, status)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    if isinstance(error.description, str):
        return problem(status, _sentence(error, status), headers)
    return problem(status, HTTPStatus(status).phrase, headers, errors=error.description)


def _own(error: HTTPException, endpoint: str) -> AnyResponse:
    """Below our own paths: JSON where machines call (RFC 6749 §5.2), a page where people come."""
    status, is_machine = error.code or 500, endpoint.startswith(_MACHINES)
    if isinstance(error, MethodNotAllowed) and request.endpoint is None and (refused := _refused_by_view()):
        return refused if is_machine else pages.finish(refused)
    _log_error(error, status)
    sentence = _sentence(error, status)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    if is_machine:
        return json_refusal(status, "server_error" if status >= 500 else "invalid_request", sentence, headers)
    answer = pages.error_page(status, sentence, reference())
    answer.headers.extend(headers)
    return pages.finish(answer)


def _sentence(error: HTTPException, status: int) -> str:
    """What the error says; where that is Werkzeug's own advice for browsers, the words for programs."""
    if error.description and error.description != type(error).description:
        return error.description
    told = {
        404: "there is nothing at this path",
        405: "this method is not allowed here; the Allow header names those that are",
        500: "the server failed; whoever runs it finds the reference in the log",
    }
    return told.get(status) or error.description or HTTPStatus(status).phrase


def _endpoint_of_other_methods(error: HTTPException) -> str | None:
    """Who serves this path by another method."""
    return _other_match()[0] if isinstance(error, MethodNotAllowed) else None


def _refused_by_view() -> Response | None:
    """Our views refuse for themselves the methods that they are asked with: let this one be refused the same way."""
    endpoint, values = _other_match()
    view = current_app.view_functions.get(endpoint or "")
    refuses = endpoint is not None and (endpoint.startswith(_MACHINES[0]) or "not_answered_" in endpoint)
    answer: Any = view(**values) if view is not None and refuses else None
    return None if answer is None else current_app.make_response(answer)


def _other_match() -> tuple[str | None, dict[str, Any]]:
    adapter = current_app.create_url_adapter(request)
    for method in ("PATCH", *(adapter.allowed_methods() if adapter else ())):
        try:
            endpoint, values = adapter.match(method=method)  # type: ignore[union-attr]
        except HTTPException:
            continue
        return str(endpoint), dict(values)
    return None, {}


def _log_error(error: HTTPException, status: int) -> None:
    level = logging.ERROR if status >= 500 else logging.INFO
    cause = type(getattr(error, "original_exception", None) or error).__name__
    _log.log(level, "answered %d at %s: %s [%s]", status, current_route(), cause, reference())
