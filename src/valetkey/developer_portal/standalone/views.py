"""Flask views of the developer portal of a ``ResourceServer``: the API reference page and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flask import Response, request, url_for
from markupsafe import Markup

from valetkey.developer_portal.documents import Document, PortalDocuments
from valetkey.developer_portal.reference import ApiReference
from valetkey.protocol.protected_resource import RESOURCE_METADATA_PATH
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.settings import Settings
from valetkey.web.page_headers import mark_as_page
from valetkey.web.static_files import PageBlueprint
from valetkey.web.templates import render_template

# Only the reference page runs a script. It calls the API and the token endpoint, which are on its own origin.
REFERENCE_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_STATIC_FOLDER = Path(__file__).parent.parent / "static"


class _CurrentDocuments:
    """The documents of the app, built again when the known metadata of its issuers changes."""

    def __init__(self, context: StandaloneContext) -> None:
        self._context = context
        self._metadata: Mapping[str, Mapping[str, Any]] | None = None
        self._documents = self._make_documents({})

    def _make_documents(self, metadata: Mapping[str, Mapping[str, Any]]) -> PortalDocuments:
        build = partial(self._context.build_openapi_document, metadata)
        return PortalDocuments(self._context.settings, build, render_operations)

    def get(self) -> PortalDocuments:
        metadata = self._context.read_issuer_metadata()
        if metadata != self._metadata:
            self._documents = self._make_documents(metadata)
            self._metadata = metadata
        return self._documents


def make_blueprint(context: StandaloneContext) -> PageBlueprint:
    """Return the blueprint of the API reference page, its static files, and the OpenAPI document.

    A page or file that is disabled in the settings has no route.
    """
    settings, documents = context.settings, _CurrentDocuments(context)
    blueprint = PageBlueprint("valetkey_developer_portal", __name__)

    def show_reference() -> Response:
        current = documents.get()
        return Response(
            render_template(
                "reference.html",
                site_name=settings.name,
                reference=current.reference,
                operations_html=current.operations_html,
                issuers=context.trusted_issuers,
                settings=settings,
                issuer_path="",
                metadata_url=RESOURCE_METADATA_PATH,
                here=url_for("valetkey_developer_portal.docs"),
            ),
            headers={"Content-Security-Policy": REFERENCE_CONTENT_SECURITY_POLICY},
        )

    def finish_page(response: Response) -> Response:
        if request.endpoint == "valetkey_developer_portal.docs":
            mark_as_page(response)
        return response

    if settings.docs_path is not None:
        blueprint.static_folder, blueprint.static_url_path = str(_STATIC_FOLDER), f"{settings.docs_path}/static"
        blueprint.add_url_rule(settings.docs_path, "docs", show_reference)
        blueprint.after_request(finish_page)
    if settings.openapi_path is not None:
        blueprint.add_url_rule(settings.openapi_path, "openapi", document_view(lambda: documents.get().openapi))
    return blueprint


def render_operations(reference: ApiReference, settings: Settings) -> str:
    """Return the HTML of the operations on the API reference page, which is the same for all users."""
    text = render_template("reference_operations.html", reference=reference, settings=settings)
    return Markup(text)  # noqa: S704  # the template has escaped it


def document_view(get_document: Callable[[], Document], **headers: str) -> Callable[[], Response]:
    """Return a Flask view that serves a document with an ETag, cacheable for 5 minutes, readable from any origin.

    :param get_document: function that returns the document; it is called at each request.
    :param headers: further headers of the response.
    """

    def view() -> Response:
        document = get_document()
        response = Response(document.body, content_type=document.content_type)
        response.headers.update({"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300", **headers})
        response.headers["ETag"] = document.etag
        response.make_conditional(request.environ)
        return response

    return view
