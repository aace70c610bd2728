"""Rendering of Valetkey's HTML pages: the shared layout, the security headers, and error pages."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from flask import Blueprint, Response, current_app, request, url_for
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response as AnyResponse

from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import BodyTooLarge, InvalidRequest, MethodNotAllowed, OAuthError, TooManyRequests
from valetkey.protocol.refusal import Refusal, describe_wait, retry_after_header, status_phrase
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.unavailable import BackendUnavailable

from . import cookies, pages, texts
from .context import current_runtime, request_state
from .cookies import pop_notice
from .csrf import ButtonForm
from .page_headers import PAGE_HEADERS_KEY, mark_as_page
from .problem_responses import refuse
from .request_body import has_body, parse_form, read_body
from .request_log import current_request_info
from .resource_owners import current_owner
from .templates import render_template

_log = logging.getLogger("valetkey")


_MAX_FORM_BYTES = 65_536


def render_page(template: str, status: int = 200, **context: Any) -> Response:
    """Return a response with one of Valetkey's pages.

    :param template: file name below ``templates/valetkey/``.
    :param status: HTTP status code.
    :param context: variables of the template, in addition to those that every page has.
    """
    runtime = current_runtime()
    text = render_template(
        template,
        site_name=runtime.settings.name,
        signed_in=_find_signed_in_owner(status),
        button_form=LocalProxy(ButtonForm),  # made if the template uses it: its CSRF token needs a cookie
        notice=pop_notice(runtime.settings),
        **_navigation_urls(),
        **context,
    )
    return Response(text, status)  # Flask's own class, and not that of the host app


def _find_signed_in_owner(status: int) -> Owner | None:
    """Return the owner whose account the page's header links to.

    Return ``None`` if no user is signed in, or it is unknown: a page does not fail if only its header needs the store.
    On the page of a server error, the owner is not looked up again.
    """
    if status >= 500:
        owner: Owner | None = request_state().get("owner")
        return owner
    try:
        return current_owner()
    except BackendUnavailable:
        return None
    except Exception:  # of the host app's function
        _log.exception("the signed-in user of a page cannot be looked up; the page has no link to the account")
        return None


class FormProblem(Protocol):
    """Why a submitted form was refused: a sentence for the user, and seconds to wait; 0 for another reason."""

    @property
    def message(self) -> str: ...
    @property
    def retry_after(self) -> float: ...


def render_form(template: str, form: Any, problem: FormProblem | None, **context: Any) -> Response:
    """Return a response with a page that has a form.

    The status is 429, with ``Retry-After``, after too many attempts; 400 if the input or a field was refused;
    else 200.

    :param problem: why the submitted form was refused; ``None`` if it was not.
    """
    retry_after = problem.retry_after if problem else 0
    status = 429 if retry_after else 400 if problem or form.errors else 200
    page = render_page(template, status, form=form, problem=problem and problem.message, **context)
    page.headers.extend(retry_after_header(retry_after))
    return page


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
    mark_as_page(response)
    return cookies.send_cookies(response, current_runtime().settings)


def render_refusal_page(
    cause: OAuthError | BackendUnavailable, *, advice: str = "", link: tuple[str, str] | None = None
) -> Response:
    """Log a refused request, count it for the audit log, and return its error page.

    :param advice: a further sentence that says what to do; empty for none, or for how long to wait.
    :param link: URL and text of the next step; ``None`` for the account page.
    """
    runtime, request_info = current_runtime(), current_request_info()
    network = request_info.network or "unknown"
    runtime.failures.record_refusal(cause, runtime.clock(), network=network, owner=request_info.user)
    has_own_title = isinstance(cause, (TooManyRequests, BackendUnavailable))
    if isinstance(cause, TooManyRequests):
        advice = advice or describe_wait(cause.retry_after)
    title = None if has_own_title else texts.REQUEST_REFUSED_TITLE
    return render_refusal(refuse(cause), title=title, advice=advice, link=link)


def render_refusal(
    refusal: Refusal, *, title: str | None = None, advice: str = "", link: tuple[str, str] | None = None
) -> Response:
    """Return the page of a refusal: what is wrong, what to do, and the request ID, which the operator finds in the log.

    Status 401 becomes 400, because a 401 response needs a ``WWW-Authenticate`` header, which the page does not have. If
    the page cannot be rendered, for example because a template is unreadable, the response is plain text.

    :param title: heading of the page; ``None`` for that of the status, which then may have its own sentence, too.
    """
    own_sentence = None if title else texts.ERROR_SENTENCES.get(refusal.status)
    sentence = as_sentence(own_sentence or refusal.description)
    title = title or texts.ERROR_TITLES.get(refusal.status) or status_phrase(refusal.status)
    status = refusal.status if refusal.status != 401 else 400
    reference = refusal.reference
    try:
        page = render_page(
            "refused.html",
            status,
            title=title,
            sentence=sentence,
            advice=advice,
            link=link,
            may_continue=status < 500,
            reference=reference,
        )
    except Exception:
        _log.exception("the error page cannot be rendered; the response is plain text")
        page = _plain_text(sentence, reference, status)
    page.headers.extend(refusal.headers)
    return page


def render_text_refusal(refusal: Refusal) -> Response:
    """Return a refusal as plain text, without URLs: Flask builds none if ``TRUSTED_HOSTS`` lacks the host."""
    page = _plain_text(as_sentence(refusal.description), refusal.reference, refusal.status)
    page.headers.extend(refusal.headers)
    return page


def _plain_text(sentence: str, reference: str, status: int) -> Response:
    return Response(f"{sentence}\nReference: {reference}\n", status, mimetype="text/plain")


def render_stateless_refusal(refusal: Refusal) -> Response:
    """Return the page of a refusal without cookies and forms. No database is read, and no key is generated."""
    request.environ[PAGE_HEADERS_KEY] = {}
    text = render_template(
        "refused.html",
        site_name=current_runtime().settings.name,
        title=texts.WRONG_HOST_TITLE,
        sentence=as_sentence(refusal.description),
        advice="",
        status=refusal.status,
        reference=refusal.reference,
        signed_in=None,
        notice=None,
    )
    return Response(text, refusal.status)


def as_sentence(text: str) -> str:
    """Return an ``error_description`` as a sentence for a page: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def add_page(blueprint: Blueprint, path: str, **views: tuple[str, Callable[..., AnyResponse]]) -> None:
    """Add a page to a blueprint. Requests with other methods get a 405 page with Valetkey's headers.

    :param views: for each HTTP method, the name of the Flask endpoint and the view function.
    """
    for method, (name, view) in views.items():
        blueprint.add_url_rule(path, name, view, methods=[method], provide_automatic_options=False)
    refuse_other_methods(blueprint, path, *views)


def set_up_blueprint(blueprint: Blueprint) -> None:
    """Add security headers, Valetkey's cookies and error pages to all pages of a blueprint."""
    blueprint.after_request(finish_page)
    blueprint.register_error_handler(OAuthError, render_refusal_page)
    blueprint.register_error_handler(BackendUnavailable, render_refusal_page)
    blueprint.before_request(_ensure_runtime_ready)


def refuse_other_methods(blueprint: Blueprint, path: str, *allowed_methods: str) -> None:
    """Add a route for all other methods than ``allowed_methods`` at a path: OPTIONS is answered, others get a 405 page.

    Flask's own 405 response lacks Valetkey's headers, and its answer to OPTIONS would name the refused methods. So the
    routes with the allowed methods must be added with ``provide_automatic_options=False``.
    """
    allowed = {*allowed_methods, "OPTIONS", *(["HEAD"] if "GET" in allowed_methods else [])}

    def refuse(**_: str) -> Response:
        if request.method == "OPTIONS":
            response = Response("")
        else:
            response = render_refusal_page(MethodNotAllowed(texts.METHOD_NOT_ALLOWED))
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    others = {"OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - allowed | {"OPTIONS"}
    name = f"not_answered_{path}".replace(".", "_")
    blueprint.add_url_rule(path, name, refuse, methods=sorted(others), provide_automatic_options=False)


def check_form() -> None:
    """Check size and characters of the form in the current request; called before each request to a page with a form.

    A form that a hook of the host app has read is parsed again.

    :raises BodyTooLarge: if the body has more than 65,536 bytes, or is sent in chunks.
    :raises InvalidRequest: if the body ends before its ``Content-Length``, or if a name or value in the form or query
        contains a NUL, which databases do not store.
    """
    environ = request.environ
    if "HTTP_TRANSFER_ENCODING" in environ:  # it overrides a Content-Length (RFC 9112 §6.3)
        raise BodyTooLarge(texts.FORM_TOO_LARGE)
    with contextlib.suppress(AttributeError):  # the limits of the host app; Flask 3.0 has them for the whole app only
        request.max_content_length, request.max_form_memory_size = _MAX_FORM_BYTES, _MAX_FORM_BYTES
    if request.method == "POST" or has_body(environ):
        body = read_body(environ)
        if len(body) > _MAX_FORM_BYTES:
            raise BodyTooLarge(texts.FORM_TOO_LARGE)
        parse_form(body)
    pairs = (*request.args.items(multi=True), *request.form.items(multi=True))
    if any("\0" in text for pair in pairs for text in pair):
        raise InvalidRequest(texts.INVALID_CHARACTER)


def _ensure_runtime_ready() -> None:
    """Check the database schema, and create a SQLite database if there is none, unless this process has done so.

    :raises BackendUnavailable: if the database does not respond, or its schema is older or newer than this code needs.
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
