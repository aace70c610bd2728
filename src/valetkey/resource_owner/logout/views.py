"""Views of the logout endpoint: a client requests the logout, the user confirms, the browser returns to the client."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.sign_out import sign_out, sign_out_at_host
from valetkey.authorization_server.clients.stranger import needs_click
from valetkey.authorization_server.openid.encrypted_hint import FORM_TTL_S, encrypt_hints
from valetkey.authorization_server.openid.logout_request import CARRIED_PARAMETERS, LogoutRequest, check_logout_request
from valetkey.authorization_server.openid.session_grants import AppsAtSignOut, list_apps_at_sign_out
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import SupportsSignOut
from valetkey.protocol.uri import add_query
from valetkey.resource_owner import texts
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import ButtonForm, button_form_problem
from valetkey.web.manual_redirect import render_manual_redirect
from valetkey.web.page_headers import CONTENT_SECURITY_POLICY
from valetkey.web.resource_owners import current_owner

_MAX_REQUEST_LENGTH = 16_000  # an ID token may be long


def make_blueprint() -> Blueprint:
    """Return the blueprint with the logout pages; their templates are in ``resource_owner``."""
    blueprint = Blueprint("valetkey_logout", __name__)
    pages.add_page(blueprint, "/logout", GET=("logout", logout_page), POST=("logout_by_post", logout_by_post))
    pages.add_page(blueprint, "/logout/confirm", POST=("confirm", confirm_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def logout_page() -> Response:
    """Handle a client's logout request: ask the user to confirm, or sign out at once (RP-Initiated Logout §2).

    The user is signed out at once if the ``id_token_hint`` identifies the current session.

    :raises InvalidRequest: if the logout request is invalid or too long.
    """
    if len(request.query_string) > _MAX_REQUEST_LENGTH:
        raise InvalidRequest(texts.REQUEST_TOO_LONG)
    runtime = current_runtime()
    now = runtime.clock()
    logout_request = check_logout_request(request.args.items(multi=True), runtime, now)
    owner = current_owner()
    if owner is None:
        return _respond_signed_out(logout_request)
    if logout_request.matches_session(owner, runtime.keys, now):
        return _end_session(logout_request)
    return _show_confirmation(logout_request)


def logout_by_post() -> Response:
    """Redirect a logout request that a client sent by POST to the same request as GET.

    The POST request from the client's site has no sign-in cookie, because the cookie is SameSite=Lax. The
    ``id_token_hint`` is encrypted in the URL, because it identifies a user.
    """
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED_PARAMETERS]
    runtime = current_runtime()
    query = urlencode(encrypt_hints(pairs, runtime.cipher, runtime.clock()))
    if len(query) > _MAX_REQUEST_LENGTH:
        raise InvalidRequest(texts.REQUEST_TOO_LONG)
    return redirect(add_query(url_for("valetkey_logout.logout"), query), 303)


def confirm_action() -> Response:
    """Handle the confirmation form: sign the user out, or not if the user decided to stay signed in.

    The parameters of the client's logout request are in the form, and are checked again.
    """
    runtime = current_runtime()
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED_PARAMETERS]
    logout_request = check_logout_request(pairs, runtime, runtime.clock())
    problem = button_form_problem()
    if problem is not None:
        if current_owner() is None:
            return _respond_signed_out(logout_request)
        return _show_confirmation(logout_request, problem)
    if request.form.get("decision") == "stay":
        account_path = runtime.settings.account_path
        return pages.render_page(
            "message.html",
            title=texts.STILL_SIGNED_IN_TITLE,
            sentence=texts.STILL_SIGNED_IN,
            link_url=url_for("valetkey_resource_owner.account") if account_path is not None else None,
            link_text=texts.BACK_TO_ACCOUNT,
        )
    return _end_session(logout_request)


def _respond_signed_out(logout_request: LogoutRequest) -> Response:
    """Return the response to a logout request of a user who is not signed in.

    It is a redirect to the client. If the client registered itself, and no ``id_token_hint`` shows that a user once
    signed in to it, it is a page with a link instead (RFC 9700 §4.11.2).
    """
    runtime, client, location = current_runtime(), logout_request.client, logout_request.location
    if client is None or location is None or logout_request.sub is not None:
        return signed_out_page((), location)
    if not needs_click(client.client_id, location, runtime, runtime.clock()):
        return signed_out_page((), location)
    return render_manual_redirect(
        location, client.name, title=texts.SIGNED_OUT_TITLE, sentence=texts.CONTINUE_AFTER_SIGN_OUT, status=200
    )


def signed_out_page(frame_uris: Sequence[str], next_uri: str | None, apps: AppsAtSignOut | None = None) -> Response:
    """Return the response after the logout: a redirect to the client, or a page that says that the user is signed out.

    :param frame_uris: clients' URIs that the page loads in frames, to sign the user out there before continuing
        (OpenID Connect Front-Channel Logout §2).
    :param next_uri: the client's URI to continue at, already checked; None if there is none.
    :param apps: the apps that lost their access and those that keep it, which the page names; None to name none.
    """
    if next_uri is not None and not frame_uris:
        return redirect(next_uri, 303)
    page = pages.render_page(
        "signed_out.html",
        frames=frame_uris,
        then=next_uri,
        then_host=urlsplit(next_uri or "").netloc or next_uri,
        apps=apps,
    )
    if frame_uris:
        origins = sorted({f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc}" for uri in frame_uris})
        policy = f"{CONTENT_SECURITY_POLICY}; frame-src {' '.join(origins)}"
        page.headers["Content-Security-Policy"] = f"{policy}; script-src 'self'" if next_uri else policy
    return page


def _end_session(logout_request: LogoutRequest) -> Response:
    """Sign the user out, notify the clients that were used in the session, and return the response after the logout."""
    runtime = current_runtime()
    address, now = current_address(runtime.settings.trusted_proxies), runtime.clock()
    frames: Sequence[str] = ()
    signed_in = current_owner()
    apps = list_apps_at_sign_out(signed_in, runtime, now) if signed_in else None
    if not runtime.has_built_in_accounts:
        frames = sign_out_at_host(signed_in, address, runtime, now) if signed_in else ()
    elif session := cookies.session_secret(runtime.settings):
        frames = sign_out(session, address, runtime, now)
    if isinstance(runtime.owners, SupportsSignOut):
        runtime.owners.sign_out()
    return signed_out_page(frames, logout_request.location, apps)


def _show_confirmation(logout_request: LogoutRequest, problem: str | None = None) -> Response:
    pairs = [(name, value) for name in CARRIED_PARAMETERS if (value := logout_request.parameters.get(name))]
    app = logout_request.client.name if logout_request.client else None
    status, owner, runtime = 400 if problem else 200, current_owner(), current_runtime()
    now = runtime.clock()
    apps = list_apps_at_sign_out(owner, runtime, now) if owner else None
    carried = dict(encrypt_hints(pairs, runtime.cipher, now, FORM_TTL_S))
    return pages.render_page(
        "logout.html", status, form=ButtonForm(), app=app, carried=carried, problem=problem, apps=apps
    )
