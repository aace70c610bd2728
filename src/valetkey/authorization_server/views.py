"""Flask views of the authorization server: read the HTTP request, call the other modules, build the HTTP response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, redirect, request, url_for
from werkzeug.urls import iri_to_uri
from werkzeug.wrappers import Response

from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.parameters import decode_pairs
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.endpoint_adapters import machine_view
from valetkey.web.pages import send_authorization_response
from valetkey.web.resource_owners import BuiltInAccounts, current_owner
from valetkey.web.wsgi import Environ

from .authorize.consent import issue_remembered
from .authorize.endpoint import check_request, check_target
from .authorize.fast_path import authorize_silently
from .authorize.interaction import save_interaction
from .authorize.prompt import check_prompt_none, required_prompt
from .endpoints import ENDPOINTS
from .openid.encrypted_hint import encrypt_hints

_MAX_REQUEST_BYTES = 8000
_UNAVAILABLE_KEY = "valetkey.unavailable"  # in the WSGI environment: the StoreUnavailable that the fast path caught
_CLIENT_ERROR_ADVICE = (
    "This is a mistake in the app, which got nothing of yours. Tell its developer, with the reference below."
)


def make_blueprints() -> tuple[Blueprint, Blueprint]:
    """Return two blueprints: one for the endpoints that programs call, one for the authorization endpoint."""
    machine_blueprint = Blueprint("valetkey_machines", __name__)
    for endpoint in ENDPOINTS:
        methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # all, so that the dispatcher rejects as JSON
        machine_blueprint.add_url_rule(
            endpoint.path, view_func=machine_view(endpoint), methods=methods, provide_automatic_options=False
        )
    browser_blueprint = Blueprint("valetkey_authorization_server", __name__)
    browser_blueprint.add_url_rule("/authorize", view_func=authorize, methods=["GET"])
    browser_blueprint.add_url_rule("/authorize", view_func=authorize_by_post, methods=["POST"])
    pages.refuse_other_methods(browser_blueprint, "/authorize", "GET", "POST")
    pages.set_up_blueprint(browser_blueprint)
    browser_blueprint.register_error_handler(OAuthError, render_refusal_page)
    return machine_blueprint, browser_blueprint


def render_refusal_page(refusal: OAuthError) -> Response:
    """Return a page that shows an error to the user, because it must not be redirected (RFC 6749 §4.1.2.1)."""
    is_client_error = not isinstance(refusal, TooManyRequests)
    return pages.render_refusal_page(refusal, advice=_CLIENT_ERROR_ADVICE if is_client_error else "")


def add_authorize_fast_path(app: Flask, runtime: Runtime, owners: BuiltInAccounts, path: str) -> None:
    """Add a WSGI middleware that handles authorization requests that need no page without entering Flask.

    Flask took 250 of the 600 us of such a request. A request that needs a page is passed on to the view ``authorize``,
    which checks it from the start. If the app sets ``TRUSTED_HOSTS``, which only Flask checks, all requests are.

    :param path: the path of the authorization endpoint.
    """
    inner = app.wsgi_app

    def fast_path(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_authorization_request = environ["PATH_INFO"] == path and environ["REQUEST_METHOD"] == "GET"
        if is_authorization_request and runtime.is_ready and not app.config.get("TRUSTED_HOSTS"):
            location = _silent_redirect_location(environ, runtime, owners)
            if location is not None:
                environ[pages.IS_PAGE_KEY] = True
                headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "0")]
                start_response("303 SEE OTHER", [*headers, ("Location", location)])
                return []
        return inner(environ, start_response)

    app.wsgi_app = fast_path  # type: ignore[method-assign]  # Flask documents this


def _silent_redirect_location(environ: Environ, runtime: Runtime, owners: BuiltInAccounts) -> str | None:
    """Return the URL with the authorization code to redirect to, or ``None`` if the request needs Flask or a page."""
    query, secret = environ.get("QUERY_STRING", ""), cookies.session_secret_of(environ, runtime)
    if secret is None or len(query) > _MAX_REQUEST_BYTES:
        return None
    try:
        response = authorize_silently(query, secret, owners.find_by_session, runtime, runtime.clock())
        return (
            None
            if response is None
            else replace(response, redirect_uri=_encode_redirect_uri(response.redirect_uri)).location()
        )
    except StoreUnavailable as cause:
        environ[_UNAVAILABLE_KEY] = cause
    except Exception:  # Flask handles the request again, logs the error and shows a page
        return None
    return None


@lru_cache(maxsize=1024)
def _encode_redirect_uri(redirect_uri: str) -> str:
    """Encode a redirect URI as Flask encodes a Location header. Never raises, because the code was issued already."""
    try:
        return iri_to_uri(redirect_uri)
    except UnicodeError:  # registered before such hosts were rejected
        return redirect_uri


def authorize() -> Response:
    """Handle a GET request at the authorization endpoint (RFC 6749 §3.1).

    Redirect to the client with an authorization code or an error, or to the page for sign-in and consent.

    :raises InvalidRequest: if the client or the redirect URI is not valid; the error is shown on a page.
    """
    if (cause := request.environ.get(_UNAVAILABLE_KEY)) is not None:  # do not wait again for a store that is down
        raise cause
    runtime = current_runtime()
    now = runtime.clock()
    if len(request.query_string) > _MAX_REQUEST_BYTES:
        raise InvalidRequest("The app's request is too long.")
    pairs = decode_pairs(request.query_string.decode("latin-1"))
    target = check_target(pairs, runtime, now)
    try:
        authorization_request = check_request(pairs, target, runtime, now)
        owner = current_owner()
        step = required_prompt(authorization_request, target, owner, runtime, now)
        check_prompt_none(authorization_request, step)
    except OAuthError as refusal:
        log_refusal(refusal, random_id(12), "authorize")
        return send_authorization_response(target.refusal_response(refusal))
    if owner is not None and step == "issue":
        response = issue_remembered(authorization_request, target, owner, runtime, now)
        if response is not None:
            return send_authorization_response(response)
    interaction = save_interaction(
        authorization_request, cookies.browser_secret(runtime).digest(), owner, current_address(runtime), runtime, now
    )
    return redirect(url_for("valetkey_resource_owner.consent", interaction_id=interaction.reveal()), 303)


def authorize_by_post() -> Response:
    """Redirect a POST to the authorization endpoint to GET (OpenID Connect Core §3.1.2.1).

    A form on the client's site is posted without the SameSite=Lax session cookie; the redirect brings the cookie.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequest("The app sent its request in a form that is not served here.")
    body = request.stream.read(_MAX_REQUEST_BYTES + 1)
    if len(body) > _MAX_REQUEST_BYTES or not body.isascii():
        raise InvalidRequest("The app's request is too long, or not form-encoded.")
    runtime = current_runtime()
    pairs = encrypt_hints(decode_pairs(body.decode("ascii")), runtime, runtime.clock())
    # Encoded again: a line break in the body would become one in the Location header.
    return redirect(f"{request.script_root}{request.path}?{urlencode(pairs)}", 303)
