"""What nobody handled: problem details below the API's prefix, JSON or a page below our own paths."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as AnyResponse

from valetkey.settings import Settings

from .problem_responses import (
    describe_error,
    is_unrendered_error,
    json_refusal,
    log_error,
    problem_from_error,
    request_is_below,
)
from .request_id import request_id

_ENDPOINT_PREFIX, _MACHINE_ENDPOINT_PREFIXES = "valetkey_", ("valetkey_machines", "valetkey_resource_server")


def render_unhandled_errors(app: Flask, settings: Settings, *, owns_all_paths: bool = False) -> None:
    """Answer what would else be Flask's bare pages; what the host's own error handlers answer stays as it is.

    An error that nobody handled is what Flask hands to ``make_response`` itself: there is the one place to see it.

    :param all_ours: whether a path that nobody serves is ours wherever it is.
    """
    original = app.make_response

    def make_response(rv: Any) -> Response:
        if isinstance(rv, HTTPException):
            answer = _render_error(rv, settings, owns_all_paths)
            if answer is not None:
                return original(answer)
        return original(rv)

    app.make_response = make_response  # type: ignore[method-assign]


def _render_error(error: HTTPException, settings: Settings, owns_all_paths: bool) -> AnyResponse | None:
    """Our answer; None where the error is not ours to answer, or brings an answer along."""
    if not is_unrendered_error(error):
        return None
    endpoint = request.endpoint or _endpoint_of_other_methods(error)
    if (endpoint or "").startswith(_ENDPOINT_PREFIX):
        return _render_valetkey_error(error, endpoint or "")
    is_nobodys = endpoint is None
    if is_nobodys and any(request_is_below(path) for path in settings.own_paths):
        return _render_not_found(error)
    if settings.problem_details and request_is_below(settings.api_prefix):
        return problem_from_error(error)
    return _render_not_found(error) if is_nobodys and owns_all_paths else None


def _render_not_found(error: HTTPException) -> AnyResponse:
    """A path of ours at which nothing is: a page where it may be a person who asks."""
    return _render_valetkey_error(
        error, _ENDPOINT_PREFIX if request.accept_mimetypes.accept_html else _MACHINE_ENDPOINT_PREFIXES[0]
    )


def _render_valetkey_error(error: HTTPException, endpoint: str) -> AnyResponse:
    """Below our own paths: JSON where machines call (RFC 6749 §5.2), a page where people come."""
    from . import pages  # here: an app without our pages does not import what they need

    status, is_machine = error.code or 500, endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES)
    if isinstance(error, MethodNotAllowed) and request.endpoint is None and (refused := _refuse_method_by_view()):
        return refused if is_machine else pages.finish_page(refused)
    log_error(error, status)
    sentence = describe_error(error, status)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    if is_machine:
        return json_refusal(status, "server_error" if status >= 500 else "invalid_request", sentence, headers)
    answer = pages.render_error_page(status, sentence, request_id())
    answer.headers.extend(headers)
    return pages.finish_page(answer)


def _endpoint_of_other_methods(error: HTTPException) -> str | None:
    """Who serves this path by another method."""
    return _match_other_method()[0] if isinstance(error, MethodNotAllowed) else None


def _refuse_method_by_view() -> Response | None:
    """Our views refuse for themselves the methods that they are asked with: let this one be refused the same way."""
    endpoint, values = _match_other_method()
    view = current_app.view_functions.get(endpoint or "")
    refuses = endpoint is not None and (
        endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES[0]) or "not_answered_" in endpoint
    )
    answer: Any = view(**values) if view is not None and refuses else None
    return None if answer is None else current_app.make_response(answer)


def _match_other_method() -> tuple[str | None, dict[str, Any]]:
    adapter = current_app.create_url_adapter(request)
    for method in ("PATCH", *(adapter.allowed_methods() if adapter else ())):
        try:
            endpoint, values = adapter.match(method=method)  # type: ignore[union-attr]
        except HTTPException:
            continue
        return str(endpoint), dict(values)
    return None, {}
