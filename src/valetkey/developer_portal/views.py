"""The API reference and the documents beside it: HTTP in, HTTP out."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Blueprint, Response, request, url_for

from valetkey.authorization_server.token.scope_and_resource import limit_scope_to_plan
from valetkey.runtime import Runtime
from valetkey.web import pages
from valetkey.web.context import current_runtime

from .docs_client import DOCS_CLIENT_ID, docs_redirect_uri, register_docs_client
from .documents import Document, PortalDocuments
from .well_known import API_CATALOG_PATH, SECURITY_TXT_PATH, metadata_url, security_txt

# This page alone runs a script, which calls the API and the token endpoint of its own origin.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def make_blueprints(runtime: Runtime) -> tuple[Blueprint, Blueprint]:
    """The reference page with its script and style, and the documents for programs, which need no store."""
    settings = runtime.settings
    documents = PortalDocuments(settings, lambda: runtime.build_openapi_document())
    blueprint = Blueprint("valetkey_developer_portal", __name__, template_folder="templates")
    plain = Blueprint("valetkey_documents", __name__)
    if settings.docs_path is not None:
        blueprint.static_folder, blueprint.static_url_path = "static", f"{settings.docs_path}/static"
        show = _reference_view(documents, runtime)
        pages.add_page(blueprint, settings.docs_path, GET=("docs", show))
        pages.add_page(blueprint, f"{settings.docs_path}/authorized", GET=("authorized", show))
    if settings.openapi_path is not None:
        plain.add_url_rule(settings.openapi_path, "openapi", _document_view(lambda: documents.openapi))
    if settings.llms_txt_path is not None:
        plain.add_url_rule(settings.llms_txt_path, "llms_txt", _document_view(lambda: documents.llms_txt))
    if settings.api_catalog:
        link = f'<{settings.issuer}{API_CATALOG_PATH}>; rel="api-catalog"'  # RFC 9727 §3
        plain.add_url_rule(API_CATALOG_PATH, "api_catalog", _document_view(lambda: documents.api_catalog, Link=link))
    if settings.security_contact is not None:
        plain.add_url_rule(SECURITY_TXT_PATH, "security_txt", _security_txt_view)
    pages.set_up_blueprint(blueprint)
    return blueprint, plain


def _reference_view(documents: PortalDocuments, runtime: Runtime) -> Callable[[], Response]:
    known = False

    def show() -> Response:
        nonlocal known
        if not known:  # once in each process: the store may be older than this page, or the issuer new
            register_docs_client(runtime)
            known = True
        settings = runtime.settings
        page = pages.render_page(
            "reference.html",
            told=documents.reference,
            possible=limit_scope_to_plan(frozenset(settings.known_scopes), DOCS_CLIENT_ID, runtime),
            client_id=DOCS_CLIENT_ID,
            may_authorize=runtime.clients.find(DOCS_CLIENT_ID, runtime.clock()) is not None,
            redirect_uri=docs_redirect_uri(settings),
            oauth=settings.oauth_path,
            settings=settings,
            issuer_path=urlsplit(settings.issuer).path,
            metadata_url=metadata_url(settings),
            here=url_for("valetkey_developer_portal.docs"),
        )
        page.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        return page

    return show


def _document_view(get_document: Callable[[], Document], **headers: str) -> Callable[[], Response]:
    """A view of a document that caches keep for a while, and any origin may read."""

    def view() -> Response:
        found = get_document()
        response = Response(found.body, content_type=found.content_type)
        response.headers.update({"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300", **headers})
        response.set_etag(found.etag)
        response.make_conditional(request.environ)
        return response

    return view


def _security_txt_view() -> Response:
    runtime = current_runtime()
    text = security_txt(runtime.settings, runtime.clock())
    return Response(text, content_type="text/plain; charset=utf-8")  # RFC 9116 §3
