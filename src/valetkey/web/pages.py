"""How a page looks: the frame that all share, its headers, and a refusal as a page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from valetkey.activity.refusals import log_refusal
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import BodyTooLarge, InvalidRequest, MethodNotAllowed, OAuthError, TooManyRequests
from valetkey.storage.engine.transaction import StoreUnavailable

from . import cookies, pages
from .context import current_route, current_runtime, kept_for_request
from .cookies import take_notice
from .csrf import csrf_tokens
from .request_id import reference
from .wsgi import Environ, Finish, Headers

_log = logging.getLogger("valetkey")
blueprint = Blueprint("valetkey_web", __name__, template_folder="templates", static_folder="static")

# No script, nothing from elsewhere, no frame (RFC 9700 §4.16). form-action is left out on purpose: browsers
# apply it to the redirect that follows a form too, and that one goes to the client.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),  # RFC 9700 §4.2.4
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_TRANSPORT = (("Strict-Transport-Security", "max-age=31536000"),)
IS_PAGE = "valetkey.page"  # in the WSGI environment: the answer gets the headers of a page
_LARGEST_FORM = 65_536
_ERROR_SENTENCES = {
    404: "The address may be misspelt, or the page may have moved.",
    500: "It is not your fault. Whoever runs this site finds the reference below in the log.",
}
_ERROR_TITLES = {404: "There is no such page", 500: "Something went wrong", 503: "Please come back in a moment"}


def page(template: str, status: int = 200, **context: Any) -> Response:
    """A page of ours, with what every page needs."""
    runtime = current_runtime()
    owner = kept_for_request().get("owner")
    text = render_template(
        f"valetkey/{template}",
        site_name=runtime.settings.name,
        signed_in=owner,
        csrf=csrf_tokens()[0],
        notice=take_notice(runtime),
        **_links(),
        **context,
    )
    return make_response(text, status)


def _links() -> dict[str, str | None]:
    """Where the frame's links go; None where the host has pages of its own."""
    known = current_app.view_functions
    names = {
        "account_url": "valetkey_resource_owner.account",
        "sign_out_url": "valetkey_resource_owner.sign_out",
        "tokens_url": "valetkey_tokens.every",
    }
    return {link: url_for(name) if name in known else None for link, name in names.items()}


def finish(response: AnyResponse) -> AnyResponse:
    """What every answer has that a person sees, errors and redirects included: cookies, and the headers of a page."""
    request.environ[IS_PAGE] = True
    if isinstance(response, Response):
        cookies.send_cookies(response, current_runtime())
    return response


def add_headers(issuer: str) -> Finish:
    """The headers of pages, where a page has not said otherwise."""
    headers_of_pages = (*_HEADERS, *_TRANSPORT) if issuer.startswith("https:") else _HEADERS

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if IS_PAGE in environ:
            told = {name.lower() for name, _ in headers}
            headers += [header for header in headers_of_pages if header[0].lower() not in told]

    return add


def refused_page(refusal: OAuthError, *, advice: str = "") -> Response:
    """A refusal as a page: what is wrong, what to do, and a reference for whoever runs the site."""
    log_refusal(refusal, reference(), current_route())
    title = "Too many attempts" if isinstance(refusal, TooManyRequests) else "This request cannot go on"
    response = page(
        "refused.html",
        refusal.status if refusal.status != 401 else 400,
        title=title,
        sentence=_sentence(refusal.description),
        advice=advice,
        reference=reference(),
    )
    if refusal.retry_after:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    return response


def unavailable_page(problem: StoreUnavailable) -> Response:
    """503 for a store that does not answer; needs nothing from the store itself."""
    _log.error("%s: %s [%s]", current_route(), problem, reference())
    response = error_page(503, "The server cannot answer right now. Please try again in a moment.", reference())
    response.headers["Retry-After"] = "2"
    return response


def error_page(status: int, sentence: str, told: str) -> Response:
    """An error as a page, and as plain text where the keys that forms are signed with cannot be read either."""
    title = _ERROR_TITLES.get(status) or HTTPStatus(status).phrase
    sentence = _sentence(_ERROR_SENTENCES.get(status, sentence))
    try:
        return page("refused.html", status, title=title, sentence=sentence, advice="", reference=told)
    except Exception:
        _log.exception("the page of an error cannot be made")
        return Response(f"{sentence}\nReference: {told}\n", status, mimetype="text/plain")


def _sentence(words: str) -> str:
    """What machines are told in lower case, as people read it."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!')) else '.'}"


def add_page(blueprint: Blueprint, path: str, **views: tuple[str, Callable[..., AnyResponse]]) -> None:
    """Serve a path: for each method the endpoint's name and the view. Other methods are refused with our headers."""
    for method, (name, view) in views.items():
        blueprint.add_url_rule(path, name, view, methods=[method])
    refuse_other_methods(blueprint, path, *views)


def set_up(blueprint: Blueprint) -> None:
    """Give a room's pages their headers, cookies and refusals."""
    blueprint.after_request(finish)
    blueprint.register_error_handler(OAuthError, refused_page)
    blueprint.register_error_handler(StoreUnavailable, unavailable_page)
    blueprint.before_request(_get_ready)


def refuse_other_methods(blueprint: Blueprint, path: str, *answered: str) -> None:
    """Refuse a method that no page at this path answers: Flask's own refusal would come without our headers."""

    def refuse(**_: str) -> Response:
        response = refused_page(MethodNotAllowed("This page cannot be used in that way."))
        response.headers["Allow"] = ", ".join(answered)
        return response

    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - {*answered, "HEAD" if "GET" in answered else ""}
    name = f"not_answered_{path}".replace(".", "_")
    blueprint.add_url_rule(path, name, refuse, methods=sorted(others), provide_automatic_options=False)


def check_form() -> None:
    """For pages that read forms, before each request.

    :raises BodyTooLarge: for more than any form of ours has, or a body that does not say how long it is.
    :raises InvalidRequest: for a NUL in a form or query: no database keeps it.
    """
    length = request.content_length
    if (length is None and "HTTP_TRANSFER_ENCODING" in request.environ) or (length or 0) > _LARGEST_FORM:
        raise BodyTooLarge("The form is larger than any of this site.")
    if any("\0" in value for value in request.values.values()):
        raise InvalidRequest("The form contains a character that no text has.")


def _get_ready() -> None:
    runtime = current_runtime()
    if not runtime.is_ready:
        runtime.get_ready()


# With a script, which presses the button. A form-action would also be applied to the client's redirects.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def respond(response: AuthorizationResponse) -> Response:
    """Send the browser to the client; 303, so that no form is posted a second time (RFC 9700 §4.12)."""
    if response.mode != "form_post":
        return Response(status=303, headers=[("Location", response.location())])
    page = pages.page("form_post.html", redirect_uri=response.redirect_uri, parameters=response.parameters)
    page.headers["Content-Security-Policy"] = _POLICY
    return page
