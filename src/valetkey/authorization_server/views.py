"""Flask views of the authorization server: read the HTTP request, call the other modules, build the HTTP response."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.activity.refusal_log import log_refusal
from valetkey.authorization_server import texts
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.parameters import decode_pairs
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.endpoint_adapters import machine_view
from valetkey.web.manual_redirect import render_manual_redirect
from valetkey.web.pages import send_authorization_response
from valetkey.web.request_body import read_body
from valetkey.web.request_log import current_request_info
from valetkey.web.resource_owners import current_owner
from valetkey.web.texts import REQUEST_REFUSED_TITLE

from .authorize.decision import MAX_REQUEST_LENGTH, IncomingRequest, Issue, Refuse, authorize
from .authorize.fast_path import take_decision
from .authorize.interaction import save_interaction
from .endpoints import ENDPOINTS
from .openid.encrypted_hint import encrypt_hints


def make_blueprints() -> tuple[Blueprint, Blueprint]:
    """Return two blueprints: one for the endpoints that programs call, one for the authorization endpoint."""
    machine_blueprint = Blueprint("valetkey_machines", __name__)
    for endpoint in ENDPOINTS:
        methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # all, so that the dispatcher rejects as JSON
        machine_blueprint.add_url_rule(
            endpoint.path, view_func=machine_view(endpoint), methods=methods, provide_automatic_options=False
        )
    browser_blueprint = Blueprint("valetkey_authorization_server", __name__)
    get, post = authorization_view, post_authorization_view
    pages.add_page(browser_blueprint, "/authorize", GET=(get.__name__, get), POST=(post.__name__, post))
    pages.set_up_blueprint(browser_blueprint)
    browser_blueprint.register_error_handler(OAuthError, render_refusal_page)
    return machine_blueprint, browser_blueprint


def render_refusal_page(refusal: OAuthError) -> Response:
    """Return a page that shows an error to the user, because it must not be redirected (RFC 6749 §4.1.2.1)."""
    is_client_error = not isinstance(refusal, TooManyRequests)
    return pages.render_refusal_page(refusal, advice=texts.APP_ERROR_ADVICE if is_client_error else "")


def authorization_view() -> Response:
    """Handle a GET request at the authorization endpoint (RFC 6749 §3.1).

    Redirect to the client with an authorization code or an error, or to the page for sign-in and consent.

    :raises InvalidRequest: if the client or the redirect URI is not valid; the error is shown on a page.
    """
    runtime = current_runtime()
    now = runtime.clock()
    decision = take_decision(request.environ)
    if decision is None:
        session = cookies.session_secret(runtime.settings) if runtime.has_built_in_accounts else None
        query = request.query_string.decode("latin-1")
        decision = authorize(IncomingRequest(query, session, current_owner, now), runtime)
    if isinstance(decision, Issue):
        return send_authorization_response(decision.response)
    if isinstance(decision, Refuse):
        return _refuse(decision)
    interaction = save_interaction(
        decision.request,
        cookies.browser_secret(runtime.settings).digest(),
        decision.owner,
        current_address(runtime.settings.trusted_proxies),
        runtime,
        now,
    )
    return redirect(url_for("valetkey_resource_owner.consent", interaction_id=interaction.reveal()), 303)


def _refuse(decision: Refuse) -> Response:
    """Return the error response to a refused authorization request: a redirect to the client, or a page.

    :raises OAuthError: if there is no client to redirect to; the error handler shows the error on a page.
    """
    target, refusal = decision.target, decision.refusal
    if target is None:
        raise refusal
    log_refusal(refusal, current_request_info(target.client.client_id))
    response = target.refusal_response(refusal)
    if not decision.requires_click:
        return send_authorization_response(response)
    is_form = response.response_mode == "form_post"
    return render_manual_redirect(
        response.redirect_uri if is_form else response.location(),
        target.client.name,
        title=REQUEST_REFUSED_TITLE,
        sentence=pages.as_sentence(refusal.description),
        status=400,
        form=response.parameters if is_form else None,
    )


def post_authorization_view() -> Response:
    """Redirect a POST to the authorization endpoint to GET (OpenID Connect Core §3.1.2.1).

    A form on the client's site is posted without the SameSite=Lax session cookie; the redirect brings the cookie.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequest(texts.UNSUPPORTED_FORMAT)
    body = read_body(request.environ)
    if len(body) > MAX_REQUEST_LENGTH or not body.isascii():
        raise InvalidRequest(texts.NOT_FORM_ENCODED)
    runtime = current_runtime()
    pairs = encrypt_hints(decode_pairs(body.decode("ascii")), runtime.cipher, runtime.clock())
    # Encoded again: a line break in the body would become one in the Location header.
    return redirect(f"{request.script_root}{request.path}?{urlencode(pairs)}", 303)
