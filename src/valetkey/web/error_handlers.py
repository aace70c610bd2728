"""Responses to unhandled errors: problem details below the API prefix, JSON or a page below Valetkey's own paths."""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, SecurityError
from werkzeug.routing import RequestRedirect
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse

from valetkey.settings import Settings

from .problem_responses import (
    is_unrendered_error,
    problem_from_error,
    refuse_http_error,
    refuse_misdirected_request,
    render_json,
    request_is_below,
)
from .wsgi import OWN_RESPONSE_KEY, REFUSED_HOST_KEY

_ENDPOINT_PREFIX = "valetkey_"
_MACHINE_ENDPOINT_PREFIXES = ("valetkey_machines", "valetkey_resource_server")
_is_host_checked = re.compile(r"valetkey_(?!health)(?!.*\.static$).*").fullmatch  # health and style sheets: any host


def render_unhandled_errors(app: Flask, settings: Settings, *, owns_all_paths: bool = False) -> None:
    """Replace Flask's plain error pages for errors below the API prefix and below Valetkey's own paths.

    Errors that the host's own error handlers handle are not changed. Flask passes an unhandled error itself to
    ``make_response``, so ``app.make_response`` is replaced.

    :param owns_all_paths: whether unknown paths outside of Valetkey's own get Valetkey's 404 response, too: true if the
        app consists of Valetkey only.
    """
    original = app.make_response

    @functools.wraps(original)
    def make_response(rv: Any) -> Response:
        if isinstance(rv, RequestRedirect):
            return original(_make_relative(rv, settings))
        if isinstance(rv, HTTPException):
            response = _render_error(rv, settings, owns_all_paths)
            if response is not None:
                request.environ[OWN_RESPONSE_KEY] = True
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

    is_machine = endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES)
    if isinstance(error, SecurityError):
        refusal = refuse_http_error(error)
        return render_json(refusal) if is_machine else pages.finish_page(pages.render_text_refusal(refusal))
    if (host_refusal := refuse_host(endpoint)) is not None:
        return host_refusal
    if isinstance(error, MethodNotAllowed) and request.endpoint is None and (response := _refuse_method_by_view()):
        return response if is_machine else pages.finish_page(response)
    refusal = refuse_http_error(error)
    return render_json(refusal) if is_machine else pages.finish_page(pages.render_refusal(refusal))


def refuse_host(endpoint: str | None) -> Response | None:
    """Return the 421 response to a request whose host is refused (``HostCheck``), as JSON or a page.

    Return None if the host is not refused, or if the endpoint serves every host. Nothing is read from the database or
    written; the log has the reference of the response.

    :param endpoint: name of the Flask endpoint; None if the request matches no route.
    """
    reason: str | None = request.environ.get(REFUSED_HOST_KEY)
    if reason is None or endpoint is None or not _is_host_checked(endpoint):
        return None
    host_refusal = refuse_misdirected_request(reason)
    if endpoint.startswith(_MACHINE_ENDPOINT_PREFIXES):
        return render_json(host_refusal)
    from . import pages  # imported here: see _render_valetkey_error

    return pages.render_stateless_refusal(host_refusal)


def request_is_own(settings: Settings) -> bool:
    """Return whether the current request is for one of Valetkey's endpoints or pages, or below one of its paths."""
    is_own_endpoint = (request.endpoint or "").startswith(_ENDPOINT_PREFIX)
    return is_own_endpoint or any(request_is_below(path) for path in settings.own_paths)


def is_own_path(path: str, settings: Settings) -> bool:
    """Return whether a path is one of Valetkey's or below it, or is below the API prefix."""
    own_paths = (*settings.own_paths, settings.api_prefix, "/.well-known")
    return any(path == own_path or path.startswith(f"{own_path}/") for own_path in own_paths)


def _make_relative(error: RequestRedirect, settings: Settings) -> RequestRedirect | AnyResponse:
    """Return the redirect of a path with doubled slashes; relative if the path is Valetkey's or below the API prefix.

    Werkzeug builds an absolute URL from the ``Host`` header, which the caller chooses.
    """
    target = urlsplit(error.new_url)
    if not is_own_path(target.path.removeprefix(request.script_root), settings):
        return error
    request.environ[OWN_RESPONSE_KEY] = True
    return redirect(f"{target.path}?{target.query}" if target.query else target.path, error.code)


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
