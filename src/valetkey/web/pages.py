"""How a page looks: the frame that all share, its headers, and a refusal as a page."""

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

# No script, nothing from elsewhere, no frame (RFC 9700 §4.16). form-action is left out on purpose: browsers
# apply it to the redirect that follows a form too, and that one goes to the client.
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
IS_PAGE_KEY = "valetkey.page"  # in the WSGI environment: the answer gets the headers of a page
_MAX_FORM_BYTES = 65_536
_ERROR_SENTENCES = {
    404: "The address may be misspelt, or the page may have moved.",
    500: "It is not your fault. Whoever runs this site finds the reference below in the log.",
}
_ERROR_TITLES = {404: "There is no such page", 500: "Something went wrong", 503: "Please come back in a moment"}


def render_page(template: str, status: int = 200, **context: Any) -> Response:
    """A page of ours, with what every page needs."""
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
    """Where the frame's links go; None where the host has pages of its own."""
    known = current_app.view_functions
    names = {
        "account_url": "valetkey_resource_owner.account",
        "sign_out_url": "valetkey_resource_owner.sign_out",
        "tokens_url": "valetkey_tokens.every",
    }
    return {link: url_for(name) if name in known else None for link, name in names.items()}


def finish_page(response: AnyResponse) -> AnyResponse:
    """What every answer has that a person sees, errors and redirects included: cookies, and the headers of a page."""
    request.environ[IS_PAGE_KEY] = True
    if isinstance(response, Response):
        cookies.send_cookies(response, current_runtime())
    return response


def make_page_headers_hook(issuer: str) -> ResponseHook:
    """The headers of pages, where a page has not said otherwise."""
    headers_of_pages = (*_PAGE_HEADERS, *_HTTPS_HEADERS) if issuer.startswith("https:") else _PAGE_HEADERS

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if IS_PAGE_KEY in environ:
            told = {name.lower() for name, _ in headers}
            headers += [header for header in headers_of_pages if header[0].lower() not in told]

    return add


def render_refusal_page(refusal: OAuthError, *, advice: str = "") -> Response:
    """A refusal as a page: what is wrong, what to do, and a reference for whoever runs the site."""
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
    """503 for a store that does not answer; needs nothing from the store itself."""
    _log.error("%s: %s [%s]", current_route(), error, request_id())
    response = render_error_page(503, "The server cannot answer right now. Please try again in a moment.", request_id())
    response.headers["Retry-After"] = "2"
    return response


def render_error_page(status: int, sentence: str, reference: str) -> Response:
    """An error as a page, and as plain text where the keys that forms are signed with cannot be read either."""
    title = _ERROR_TITLES.get(status) or HTTPStatus(status).phrase
    sentence = _as_sentence(_ERROR_SENTENCES.get(status, sentence))
    try:
        return render_page("refused.html", status, title=title, sentence=sentence, advice="", reference=reference)
    except Exception:
        _log.exception("the page of an error cannot be made")
        return Response(f"{sentence}\nReference: {reference}\n", status, mimetype="text/plain")


def _as_sentence(text: str) -> str:
    """What machines are told in lower case, as people read it."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def add_page(blueprint: Blueprint, path: str, **views: tuple[str, Callable[..., AnyResponse]]) -> None:
    """Serve a path: for each method the endpoint's name and the view. Other methods are refused with our headers."""
    for method, (name, view) in views.items():
        blueprint.add_url_rule(path, name, view, methods=[method])
    refuse_other_methods(blueprint, path, *views)


def set_up_blueprint(blueprint: Blueprint) -> None:
    """Give a room's pages their headers, cookies and refusals."""
    blueprint.after_request(finish_page)
    blueprint.register_error_handler(OAuthError, render_refusal_page)
    blueprint.register_error_handler(StoreUnavailable, render_unavailable_page)
    blueprint.before_request(_ensure_runtime_ready)


def refuse_other_methods(blueprint: Blueprint, path: str, *allowed_methods: str) -> None:
    """Refuse a method that no page at this path answers: Flask's own refusal would come without our headers."""

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
    """For pages that read forms, before each request.

    :raises BodyTooLarge: for more than any form of ours has, or a body that does not say how long it is.
    :raises InvalidRequest: for a NUL in a form or query: no database keeps it.
    """
    length = request.content_length
    if (length is None and "HTTP_TRANSFER_ENCODING" in request.environ) or (length or 0) > _MAX_FORM_BYTES:
        raise BodyTooLarge("The form is larger than any of this site.")
    if any("\0" in value for value in request.values.values()):
        raise InvalidRequest("The form contains a character that no text has.")


def _ensure_runtime_ready() -> None:
    runtime = current_runtime()
    if not runtime.is_ready:
        runtime.get_ready()


# With a script, which presses the button. A form-action would also be applied to the client's redirects.
_FORM_POST_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def send_authorization_response(response: AuthorizationResponse) -> Response:
    """Send the browser to the client; 303, so that no form is posted a second time (RFC 9700 §4.12)."""
    if response.response_mode != "form_post":
        return Response(status=303, headers=[("Location", response.location())])
    page = pages.render_page("form_post.html", redirect_uri=response.redirect_uri, parameters=response.parameters)
    page.headers["Content-Security-Policy"] = _FORM_POST_CONTENT_SECURITY_POLICY
    return page
