"""The logout endpoint's views: a client asks, the person confirms, the browser goes on."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.sign_out import sign_out, sign_out_at_host
from valetkey.authorization_server.openid.encrypted_hint import encrypt_hints
from valetkey.authorization_server.openid.logout_request import CARRIED_PARAMETERS, LogoutRequest, check_logout_request
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import SupportsSignOut
from valetkey.resource_owner.forms import LogoutForm
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import FORM_EXPIRED
from valetkey.web.resource_owners import current_owner

_MAX_REQUEST_LENGTH = 16_000  # an ID token may be long


def make_blueprint() -> Blueprint:
    blueprint = Blueprint("valetkey_logout", __name__)
    pages.add_page(blueprint, "/logout", GET=("logout", logout_page), POST=("logout_by_post", logout_by_post))
    pages.add_page(blueprint, "/logout/confirm", POST=("confirm", confirm_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def logout_page() -> Response:
    """RP-Initiated Logout §2: asks the person, unless the hint names their very sign-in."""
    if len(request.query_string) > _MAX_REQUEST_LENGTH:
        raise InvalidRequest("The app's request is too long.")
    runtime = current_runtime()
    asked = check_logout_request(request.args.items(multi=True), runtime, runtime.clock())
    owner = current_owner()
    if owner is None:
        return signed_out_page((), asked.location)
    return _end_session(asked) if asked.matches_session(owner, runtime) else _show_confirmation(asked)


def logout_by_post() -> Response:
    """The same by POST: sent on to GET, for a form from the app's site brings no SameSite=Lax cookie."""
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED_PARAMETERS]
    runtime = current_runtime()
    sent = urlencode(encrypt_hints(pairs, runtime, runtime.clock()))
    if len(sent) > _MAX_REQUEST_LENGTH:
        raise InvalidRequest("The app's request is too long.")
    return redirect(url_for("valetkey_logout.logout") + (f"?{sent}" if sent else ""), 303)


def confirm_action() -> Response:
    """The person's answer; what the app asked for is checked again."""
    runtime = current_runtime()
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED_PARAMETERS]
    asked = check_logout_request(pairs, runtime, runtime.clock())
    if not LogoutForm(request.form).validate():
        return (
            signed_out_page((), asked.location) if current_owner() is None else _show_confirmation(asked, FORM_EXPIRED)
        )
    if request.form.get("decision") == "stay":
        return pages.render_page(
            "message.html", title="You are still signed in", sentence="Nothing was changed.", link_url=None
        )
    return _end_session(asked)


def signed_out_page(frame_uris: Sequence[str], next_uri: str | None) -> Response:
    """Where the person is after the end: at the app, by a page that holds the frames, or at a page of ours.

    :param frames: URIs that the browser must load first (Front-Channel Logout §2).
    :param then: a URI that was checked.
    """
    if next_uri is not None and not frame_uris:
        return redirect(next_uri, 303)
    page = pages.render_page(
        "signed_out.html", frames=frame_uris, then=next_uri, then_host=urlsplit(next_uri or "").netloc or next_uri
    )
    if frame_uris:
        origins = sorted({f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc}" for uri in frame_uris})
        policy = f"{pages.CONTENT_SECURITY_POLICY}; frame-src {' '.join(origins)}"
        page.headers["Content-Security-Policy"] = f"{policy}; script-src 'self'" if next_uri else policy
    return page


def _end_session(logout_request: LogoutRequest) -> Response:
    runtime = current_runtime()
    address, now = current_address(runtime), runtime.clock()
    frames: Sequence[str] = ()
    if not runtime.has_built_in_accounts:
        owner = current_owner()
        frames = sign_out_at_host(owner, address, runtime, now) if owner else ()
    elif session := cookies.session_secret(runtime):
        frames = sign_out(session, address, runtime, now)
    if isinstance(runtime.owners, SupportsSignOut):
        runtime.owners.sign_out()
    return signed_out_page(frames, logout_request.location)


def _show_confirmation(logout_request: LogoutRequest, problem: str | None = None) -> Response:
    carried = {name: logout_request.parameters.get(name) for name in CARRIED_PARAMETERS}
    app = logout_request.client.name if logout_request.client else None
    status = 400 if problem else 200
    return pages.render_page("logout.html", status, form=LogoutForm(), app=app, carried=carried, problem=problem)
