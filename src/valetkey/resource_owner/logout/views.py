"""The logout endpoint's views: a client asks, the person confirms, the browser goes on."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.sign_out import sign_out, sign_out_at_host
from valetkey.authorization_server.openid.encrypted_hint import sealed_hints
from valetkey.authorization_server.openid.logout_request import CARRIED, LogoutRequest, check_logout_request
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import EndsSignIns
from valetkey.resource_owner.forms import LogoutForm
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import EXPIRED
from valetkey.web.resource_owners import current_owner

_LONGEST_REQUEST = 16_000  # an ID token may be long


def make_blueprint() -> Blueprint:
    blueprint = Blueprint("valetkey_logout", __name__)
    pages.add_page(blueprint, "/logout", GET=("logout", logout), POST=("logout_by_post", logout_by_post))
    pages.add_page(blueprint, "/logout/confirm", POST=("confirm", confirm))
    blueprint.before_request(pages.check_form)
    pages.set_up(blueprint)
    return blueprint


def logout() -> Response:
    """RP-Initiated Logout §2: asks the person, unless the hint names their very sign-in."""
    if len(request.query_string) > _LONGEST_REQUEST:
        raise InvalidRequest("The app's request is too long.")
    runtime = current_runtime()
    asked = check_logout_request(request.args.items(multi=True), runtime, runtime.clock())
    owner = current_owner()
    if owner is None:
        return signed_out((), asked.location)
    return _end(asked) if asked.is_for(owner, runtime) else _ask(asked)


def logout_by_post() -> Response:
    """The same by POST: sent on to GET, for a form from the app's site brings no SameSite=Lax cookie."""
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED]
    runtime = current_runtime()
    sent = urlencode(sealed_hints(pairs, runtime, runtime.clock()))
    if len(sent) > _LONGEST_REQUEST:
        raise InvalidRequest("The app's request is too long.")
    return redirect(url_for("valetkey_logout.logout") + (f"?{sent}" if sent else ""), 303)


def confirm() -> Response:
    """The person's answer; what the app asked for is checked again."""
    runtime = current_runtime()
    pairs = [(name, value) for name, value in request.form.items(multi=True) if name in CARRIED]
    asked = check_logout_request(pairs, runtime, runtime.clock())
    if not LogoutForm(request.form).validate():
        return signed_out((), asked.location) if current_owner() is None else _ask(asked, EXPIRED)
    if request.form.get("decision") == "stay":
        return pages.page(
            "message.html", title="You are still signed in", sentence="Nothing was changed.", link_url=None
        )
    return _end(asked)


def signed_out(frames: Sequence[str], then: str | None) -> Response:
    """Where the person is after the end: at the app, by a page that holds the frames, or at a page of ours.

    :param frames: URIs that the browser must load first (Front-Channel Logout §2).
    :param then: a URI that was checked.
    """
    if then is not None and not frames:
        return redirect(then, 303)
    page = pages.page("signed_out.html", frames=frames, then=then, then_host=urlsplit(then or "").netloc or then)
    if frames:
        origins = sorted({f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc}" for uri in frames})
        policy = f"{pages.POLICY}; frame-src {' '.join(origins)}"
        page.headers["Content-Security-Policy"] = f"{policy}; script-src 'self'" if then else policy
    return page


def _end(asked: LogoutRequest) -> Response:
    runtime = current_runtime()
    address, now = current_address(runtime), runtime.clock()
    frames: Sequence[str] = ()
    if not runtime.has_own_accounts:
        owner = current_owner()
        frames = sign_out_at_host(owner, address, runtime, now) if owner else ()
    elif session := cookies.session(runtime):
        frames = sign_out(session, address, runtime, now)
    if isinstance(runtime.owners, EndsSignIns):
        runtime.owners.sign_out()
    return signed_out(frames, asked.location)


def _ask(asked: LogoutRequest, problem: str | None = None) -> Response:
    carried = {name: asked.parameters.get(name) for name in CARRIED}
    app = asked.client.name if asked.client else None
    status = 400 if problem else 200
    return pages.page("logout.html", status, form=LogoutForm(), app=app, carried=carried, problem=problem)
