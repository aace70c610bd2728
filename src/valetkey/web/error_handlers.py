"""Responses to unhandled errors: problem details below the API prefix, JSON or a page below Valetkey's own paths."""

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
    """Replace Flask's plain error pages for errors below the API prefix and below Valetkey's own paths.

    Errors that the host's own error handlers handle are not changed. Flask passes an unhandled error itself to
    ``make_response``, so ``app.make_response`` is replaced.

    :param owns_all_paths: whether unknown paths outside of Valetkey's own get Valetkey's 404 response, too: true if the
        app consists of Valetkey only.
    """
    original = app.make_response

    def make_response(rv: Any) -> Response:
        if isinstance(rv, HTTPException):
            response = _render_error(rv, settings, owns_all_paths)
            if response is not None:
                return original(response)
        return original(rv)

    app.make_response = make_response  # type: ignore[method-assign]  # Flask has no hook for unhandled errors


def _render_error(error: HTTPException, settings: Settings, owns_all_paths: bool) -> AnyResponse | None:
    """Return Valetkey's response to an error; None if the path is the host app's, or the error has its own response."""
    if not is_unrendered_error(error):
        return None
    endpoint = request.endpoint or _endpoint_of_other_methods(error)
    if (endpoint or "").startswith(_ENDPOINT_PREFIX):
        return _render_valetkey_error(error, endpoint or "")
    has_no_route = endpoint is None
    if has_no_route and any(request_is_below(path) for path in settings.own_paths):
        return _render_not_found(error)
    if settings.problem_details and request_is_below(settings.api_prefix):
        return problem_from_error(error)
    return _render_not_found(error) if has_no_route and owns_all_paths else None


def _render_not_found(error: HTTPException) -> AnyResponse:
    """Return the response for an unknown path below one of Valetkey's paths: a page if HTML is accepted, else JSON."""
    return _render_valetkey_error(
        error, _ENDPOINT_PREFIX if request.accept_mimetypes.accept_html else _MACHINE_ENDPOINT_PREFIXES[0]
    )


def _render_valetkey_error(error: HTTPException, endpoint: str) -> AnyResponse:
    """Return the response to an error of a Valetkey endpoint: JSON (RFC 6749 §5.2) or a page.

    :param endpoint: name of the Flask endpoint, which says whether it returns data (JSON) or pages.
    """
    from . import pages  # imported here: an app without Valetkey's pages does not import their dependencies

    status, is_machine = error.code or 500, endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES)
    if isinstance(error, MethodNotAllowed) and request.endpoint is None and (refusal := _refuse_method_by_view()):
        return refusal if is_machine else pages.finish_page(refusal)
    log_error(error, status)
    sentence = describe_error(error, status)
    headers = [(name, value) for name, value in error.get_headers(request.environ) if name != "Content-Type"]
    if is_machine:
        return json_refusal(status, "server_error" if status >= 500 else "invalid_request", sentence, headers)
    page = pages.render_error_page(status, sentence, request_id())
    page.headers.extend(headers)
    return pages.finish_page(page)


def _endpoint_of_other_methods(error: HTTPException) -> str | None:
    """Return the name of the Flask endpoint that serves this path with another method.

    Return None if the error is not a 405.
    """
    return _match_other_method()[0] if isinstance(error, MethodNotAllowed) else None


def _refuse_method_by_view() -> Response | None:
    """Return the 405 response of the Valetkey view that serves this path, or None if no view has such a response.

    Valetkey's views return a 405 response of their own, but only for the methods that have a route. For a method
    without a route, Flask raises ``MethodNotAllowed``; calling the view gives all methods the same response.
    """
    endpoint, values = _match_other_method()
    view = current_app.view_functions.get(endpoint or "")
    refuses = endpoint is not None and (
        endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES[0]) or "not_answered_" in endpoint
    )
    refusal: Any = view(**values) if view is not None and refuses else None
    return None if refusal is None else current_app.make_response(refusal)


def _match_other_method() -> tuple[str | None, dict[str, Any]]:
    """Return the Flask endpoint that serves this path with another method, and the values of its URL variables.

    Return None and an empty dict if there is no such endpoint.
    """
    adapter = current_app.create_url_adapter(request)
    for method in ("PATCH", *(adapter.allowed_methods() if adapter else ())):
        try:
            endpoint, values = adapter.match(method=method)  # type: ignore[union-attr]  # a request has an adapter
        except HTTPException:
            continue
        return str(endpoint), dict(values)
    return None, {}
