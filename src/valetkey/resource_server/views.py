"""Flask views that serve the protected resource metadata (RFC 9728), for ``Valetkey`` and ``ResourceServer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Blueprint, Response, abort, request

from valetkey.protocol.cors import allowed_headers
from valetkey.protocol.protected_resource import (
    RESOURCE_METADATA_HEADERS,
    RESOURCE_METADATA_PATH,
    ProtectedResource,
    build_metadata_document,
    find_resource,
)
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.web.problem_responses import refuse, render_json


def make_blueprint(list_resources: Callable[[], Iterable[ProtectedResource]]) -> Blueprint:
    """Return the blueprint that serves the metadata of every protected resource (RFC 9728 §3).

    :param list_resources: returns the protected resources; may raise ``BackendUnavailable``.
    """

    def serve_metadata(path: str = "") -> Response:
        resource = find_resource(list_resources(), path, request.host)
        if resource is None:
            abort(404)
        return Response(build_metadata_document(resource), 200, list(RESOURCE_METADATA_HEADERS))

    blueprint = Blueprint("valetkey_resource_server", __name__)
    for path in (RESOURCE_METADATA_PATH, f"{RESOURCE_METADATA_PATH}/<path:path>"):
        blueprint.add_url_rule(path, "metadata", serve_metadata, provide_automatic_options=False)
        blueprint.add_url_rule(path, "preflight", _preflight, methods=["OPTIONS"], provide_automatic_options=False)
    blueprint.register_error_handler(BackendUnavailable, _handle_unavailable)
    return blueprint


def _preflight(path: str = "") -> Response:
    """Respond to a CORS preflight: browsers send one if a script adds a header, such as MCP-Protocol-Version."""
    requested = request.headers.get("Access-Control-Request-Headers", "")
    response = Response(status=204)
    del response.headers["Content-Type"]
    response.headers["Allow"] = response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Headers"] = allowed_headers(requested, "Content-Type")
    response.headers["Access-Control-Max-Age"] = "600"
    response.headers["Vary"] = "Access-Control-Request-Headers"
    return response


def _handle_unavailable(cause: BackendUnavailable) -> Response:
    return render_json(refuse(cause))
