"""Flask views that serve the protected resource metadata (RFC 9728)."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, abort, request

from valetkey.endpoint import PREFLIGHT_HEADERS
from valetkey.resource_server.metadata import METADATA_HEADERS, WELL_KNOWN, find_metadata_document
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.context import current_route, current_runtime
from valetkey.web.problem_responses import json_refusal
from valetkey.web.request_id import request_id

_log = logging.getLogger("valetkey")


def make_blueprint() -> Blueprint:
    """Return the blueprint that serves the metadata of every protected resource (RFC 9728 §3)."""
    blueprint = Blueprint("valetkey_resource_server", __name__)
    for path in (WELL_KNOWN, f"{WELL_KNOWN}/<path:path>"):
        blueprint.add_url_rule(path, "metadata", protected_resource_metadata, provide_automatic_options=False)
        blueprint.add_url_rule(path, "preflight", preflight, methods=["OPTIONS"], provide_automatic_options=False)
    blueprint.register_error_handler(StoreUnavailable, _handle_store_unavailable)
    return blueprint


def protected_resource_metadata(path: str = "") -> Response:
    """Respond with the metadata of the resource whose identifier has this path, or with 404 if there is none."""
    runtime = current_runtime()
    if not runtime.is_ready:
        runtime.get_ready()
    document = find_metadata_document(runtime, path, request.host)
    if document is None:
        abort(404)
    return Response(document, 200, list(METADATA_HEADERS))


def preflight(path: str = "") -> Response:
    """Respond to a CORS preflight: browsers send one if a script adds a header, such as MCP-Protocol-Version."""
    headers = (*PREFLIGHT_HEADERS, ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"))
    return Response(b"", 204, list(headers))


def _handle_store_unavailable(cause: StoreUnavailable) -> Response:
    _log.error("%s: %s [%s]", current_route(), cause, request_id())
    headers = [("Retry-After", "2")]
    return json_refusal(503, "temporarily_unavailable", "the server cannot answer now; try again", headers)
