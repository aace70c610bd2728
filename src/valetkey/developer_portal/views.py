"""Flask views of the developer portal: the API reference page, the OpenAPI document, llms.txt and other files."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Blueprint, Response, url_for

from valetkey.runtime import Runtime
from valetkey.tokens.grant_scope import limit_scope_to_plan
from valetkey.web import pages
from valetkey.web.context import current_runtime
from valetkey.web.static_files import PageBlueprint

from .docs_client import DOCS_CLIENT_ID, docs_redirect_uri, register_docs_client
from .documents import PortalDocuments
from .standalone.views import REFERENCE_CONTENT_SECURITY_POLICY, document_view, render_operations
from .well_known import API_CATALOG_PATH, SECURITY_TXT_PATH, metadata_url_below_issuer, security_txt


def make_blueprints(runtime: Runtime) -> tuple[Blueprint, Blueprint]:
    """Return two blueprints: one for the API reference page with its static files, one for files that programs read.

    The files are the OpenAPI document, llms.txt, the API catalog and security.txt; serving them needs no database.
    A page or file that is disabled in the settings has no route.
    """
    settings = runtime.settings
    documents = PortalDocuments(settings, lambda: runtime.build_openapi_document(), render_operations)
    blueprint = PageBlueprint("valetkey_developer_portal", __name__)
    api = Blueprint("valetkey_documents", __name__)
    if settings.docs_path is not None:
        blueprint.static_folder, blueprint.static_url_path = "static", f"{settings.docs_path}/static"
        show = _reference_view(documents, runtime)
        pages.add_page(blueprint, settings.docs_path, GET=("docs", show))
        pages.add_page(blueprint, f"{settings.docs_path}/authorized", GET=("authorized", show))
    if settings.openapi_path is not None:
        api.add_url_rule(settings.openapi_path, "openapi", document_view(lambda: documents.openapi))
    if settings.llms_txt_path is not None:
        api.add_url_rule(settings.llms_txt_path, "llms_txt", document_view(lambda: documents.llms_txt))
    if settings.api_catalog:
        link = f'<{settings.issuer}{API_CATALOG_PATH}>; rel="api-catalog"'  # RFC 9727 §3
        api.add_url_rule(API_CATALOG_PATH, "api_catalog", document_view(lambda: documents.api_catalog, Link=link))
    if settings.security_contact is not None:
        api.add_url_rule(SECURITY_TXT_PATH, "security_txt", _security_txt_view)
    pages.set_up_blueprint(blueprint)
    return blueprint, api


def _reference_view(documents: PortalDocuments, runtime: Runtime) -> Callable[[], Response]:
    is_client_registered = False

    def show() -> Response:
        nonlocal is_client_registered
        if not is_client_registered:  # once per process: the database may lack the client, or its issuer changed
            register_docs_client(runtime, runtime.clock())
            is_client_registered = True
        settings, now = runtime.settings, runtime.clock()
        page = pages.render_page(
            "reference.html",
            reference=documents.reference,
            operations_html=documents.operations_html,
            requestable_scopes=limit_scope_to_plan(
                frozenset(settings.known_scopes), DOCS_CLIENT_ID, runtime.subscriptions, settings, now
            ),
            client_id=DOCS_CLIENT_ID,
            may_authorize=runtime.clients.find(DOCS_CLIENT_ID, now) is not None,
            redirect_uri=docs_redirect_uri(settings),
            oauth=settings.oauth_path,
            settings=settings,
            issuer_path=urlsplit(settings.issuer).path,
            metadata_url=metadata_url_below_issuer(settings),
            here=url_for("valetkey_developer_portal.docs"),
        )
        page.headers["Content-Security-Policy"] = REFERENCE_CONTENT_SECURITY_POLICY
        return page

    return show


def _security_txt_view() -> Response:
    runtime = current_runtime()
    text = security_txt(runtime.settings, runtime.clock())
    return Response(text, content_type="text/plain; charset=utf-8")  # RFC 9116 §3
