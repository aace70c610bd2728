"""Rendering of Valetkey's HTML pages: the shared layout, the security headers, and error pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import BodyTooLarge, InvalidRequest, MethodNotAllowed, OAuthError, TooManyRequests
from valetkey.storage.engine.transaction import StoreUnavailable

from . import cookies, pages
from .context import current_route, current_runtime, request_state
from .cookies import pop_notice
from .csrf import csrf_tokens
from .request_id import request_id
from .wsgi import Environ, Headers, ResponseHook

_log = logging.getLogger("valetkey")
blueprint = Blueprint("valetkey_web", __name__, template_folder="templates", static_folder="static")

# No scripts, nothing from other origins, no framing (RFC 9700 §4.16). form-action is omitted on purpose: browsers
# also apply it to the redirect after a form, which leads to the client.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_PAGE_HEADERS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),  # RFC 9700 §4.2.4
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_HTTPS_HEADERS = (("Strict-Transport-Security", "max-age=31536000"),)
IS_PAGE_KEY = "valetkey.page"  # in the WSGI environment: the response gets the headers of a page
_MAX_FORM_BYTES = 65_536
_ERROR_SENTENCES = {
    404: "The address may be misspelt, or the page may have moved.",
    500: "It is not your fault. Whoever runs this site finds the reference below in the log.",
}
_ERROR_TITLES = {404: "There is no such page", 500: "Something went wrong", 503: "Please come back in a moment"}


def render_page(template: str, status: int = 200, **context: Any) -> Response:
    """Return a response with one of Valetkey's pages.

    :param template: file name below ``templates/valetkey/``.
    :param status: HTTP status code.
    :param context: variables of the template, in addition to those that every page has.
    """
    runtime = current_runtime()
    owner = request_state().get("owner")
    text = render_template(
        f"valetkey/{template}",
        site_name=runtime.settings.name,
        signed_in=owner,
        csrf=csrf_tokens()[0],
        notice=pop_notice(runtime),
        **_navigation_urls(),
        **context,
    )
    return make_response(text, status)


def _navigation_urls() -> dict[str, str | None]:
    """Return the URLs of the links in the page layout by variable name; None for pages that the app does not have."""
    views = current_app.view_functions
    names = {
        "account_url": "valetkey_resource_owner.account",
        "sign_out_url": "valetkey_resource_owner.sign_out",
        "tokens_url": "valetkey_tokens.every",
    }
    return {link: url_for(name) if name in views else None for link, name in names.items()}


def finish_page(response: AnyResponse) -> AnyResponse:
    """Add Valetkey's cookies and the security headers of pages to a response for a browser, and return the response.

    Call it for pages, error pages and redirects.
    """
    request.environ[IS_PAGE_KEY] = True
    if isinstance(response, Response):
        cookies.send_cookies(response, current_runtime())
    return response


def make_page_headers_hook(issuer: str) -> ResponseHook:
    """Return a function for ``add_response_hooks`` that adds security headers to Valetkey's pages.

    Headers that a page has set itself are kept.

    :param issuer: URL of the issuer; if it is https, pages have ``Strict-Transport-Security``.
    """
    page_headers = (*_PAGE_HEADERS, *_HTTPS_HEADERS) if issuer.startswith("https:") else _PAGE_HEADERS

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if IS_PAGE_KEY in environ:
            present = {name.lower() for name, _ in headers}
            headers += [header for header in page_headers if header[0].lower() not in present]

    return add


def render_refusal_page(refusal: OAuthError, *, advice: str = "") -> Response:
    """Log a refused request and return its error page: what is wrong, what to do, and the request ID.

    The operator finds the request ID in the log. Status 401 becomes 400, because a 401 response needs a
    ``WWW-Authenticate`` header, which the page does not have.

    :param advice: a further sentence that says what to do; empty for none.
    """
    log_refusal(refusal, request_id(), current_route())
    title = "Too many attempts" if isinstance(refusal, TooManyRequests) else "This request cannot go on"
    response = render_page(
        "refused.html",
        refusal.status if refusal.status != 401 else 400,
        title=title,
        sentence=_as_sentence(refusal.description),
        advice=advice,
        reference=request_id(),
    )
    if refusal.retry_after:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    return response


def render_unavailable_page(error: StoreUnavailable) -> Response:
    """Log that the database is unavailable, and return a page with status 503, rendered without the database."""
    _log.error("%s: %s [%s]", current_route(), error, request_id())
    response = render_error_page(503, "The server cannot answer right now. Please try again in a moment.", request_id())
    response.headers["Retry-After"] = "2"
    return response


def render_error_page(status: int, sentence: str, reference: str) -> Response:
    """Return an error page; plain text if the page cannot be rendered because the keys for CSRF tokens are unreadable.

    :param sentence: what is wrong; not used for status 404 and 500, which have their own sentence.
    :param reference: the request ID, under which the operator finds the error in the log.
    """
    title = _ERROR_TITLES.get(status) or HTTPStatus(status).phrase
    sentence = _as_sentence(_ERROR_SENTENCES.get(status, sentence))
    try:
        return render_page("refused.html", status, title=title, sentence=sentence, advice="", reference=reference)
    except Exception:
        _log.exception("the error page cannot be rendered; the response is plain text")
        return Response(f"{sentence}\nReference: {reference}\n", status, mimetype="text/plain")


def _as_sentence(text: str) -> str:
    """Return an ``error_description`` as a sentence for a page: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def add_page(blueprint: Blueprint, path: str, **views: tuple[str, Callable[..., AnyResponse]]) -> None:
    """Add a page to a blueprint. Requests with other methods get a 405 page with Valetkey's headers.

    :param views: for each HTTP method, the name of the Flask endpoint and the view function.
    """
    for method, (name, view) in views.items():
        blueprint.add_url_rule(path, name, view, methods=[method])
    refuse_other_methods(blueprint, path, *views)


def set_up_blueprint(blueprint: Blueprint) -> None:
    """Add security headers, Valetkey's cookies and error pages to all pages of a blueprint."""
    blueprint.after_request(finish_page)
    blueprint.register_error_handler(OAuthError, render_refusal_page)
    blueprint.register_error_handler(StoreUnavailable, render_unavailable_page)
    blueprint.before_request(_ensure_runtime_ready)


def refuse_other_methods(blueprint: Blueprint, path: str, *allowed_methods: str) -> None:
    """Add a route that returns a 405 page for all other methods than ``allowed_methods`` at a path.

    Flask's own 405 response lacks Valetkey's headers.
    """

    def refuse(**_: str) -> Response:
        response = render_refusal_page(MethodNotAllowed("This page cannot be used in that way."))
        response.headers["Allow"] = ", ".join(allowed_methods)
        return response

    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - {
        *allowed_methods,
        "HEAD" if "GET" in allowed_methods else "",
    }
    name = f"not_answered_{path}".replace(".", "_")
    blueprint.add_url_rule(path, name, refuse, methods=sorted(others), provide_automatic_options=False)


def check_form() -> None:
    """Check size and characters of the form in the current request; called before each request to a page with a form.

    :raises BodyTooLarge: if the body has more than 65,536 bytes, or is sent without ``Content-Length``.
    :raises InvalidRequest: if a value in the form or query contains a NUL, which databases do not store.
    """
    length = request.content_length
    if (length is None and "HTTP_TRANSFER_ENCODING" in request.environ) or (length or 0) > _MAX_FORM_BYTES:
        raise BodyTooLarge("The form is larger than any of this site.")
    if any("\0" in value for value in request.values.values()):
        raise InvalidRequest("The form contains a character that no text has.")


def _ensure_runtime_ready() -> None:
    """Check the database schema, and create a SQLite database if there is none, unless this process has done so.

    :raises StoreUnavailable: if the database does not respond, or its schema is older or newer than this code needs.
    """
    runtime = current_runtime()
    if not runtime.is_ready:
        runtime.get_ready()


# With a script, which submits the form. form-action is omitted: browsers also apply it to the client's redirects.
_FORM_POST_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def send_authorization_response(response: AuthorizationResponse) -> Response:
    """Return the HTTP response that sends the browser back to the client with the result of its authorization request.

    It is a redirect, or for response mode ``form_post`` a page that posts the result as a form. The redirect has status
    303, so that the browser does not post the consent form to the client (RFC 9700 §4.12).
    """
    if response.response_mode != "form_post":
        return Response(status=303, headers=[("Location", response.location())])
    page = pages.render_page("form_post.html", redirect_uri=response.redirect_uri, parameters=response.parameters)
    page.headers["Content-Security-Policy"] = _FORM_POST_CONTENT_SECURITY_POLICY
    return page
