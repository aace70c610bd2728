"""Views for consent, sign-in, sign-up, sign-out and connected apps.

They read requests and render pages; the rules are in the packages ``accounts`` and ``authorization_server``.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.sign_out import sign_out
from valetkey.authorization_server import connected_apps
from valetkey.authorization_server.authorize.codes import continue_remembered
from valetkey.authorization_server.authorize.consent import (
    INDIVIDUAL_CLAIMS,
    ConsentPrompt,
    RequestLost,
    allow,
    build_consent_prompt,
    claims_beyond_scope,
    deny,
    load_pending,
    refuse,
)
from valetkey.authorization_server.authorize.consent_record import REQUIRED_SCOPES, find_consent
from valetkey.authorization_server.authorize.prompt import required_prompt
from valetkey.authorization_server.authorize.repeated_decision import AlreadyDecided
from valetkey.authorization_server.authorize.request import AuthorizationRequest, PendingAuthorization
from valetkey.authorization_server.authorize.shown_scopes import is_shown_now
from valetkey.authorization_server.openid.session_grants import list_apps_at_sign_out
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.settings import Settings
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import button_form_problem, check_button_form
from valetkey.web.page_headers import isolate_page
from valetkey.web.pages import send_authorization_response
from valetkey.web.resource_owners import (
    BuiltInAccounts,
    NoSignInPage,
    current_full_path,
    current_owner,
    other_account_url,
    redirect_to_sign_in,
)
from valetkey.web.unticked_scopes import unticked_before_sign_in, unticked_scope, with_unticked

from . import texts
from .access.views import list_provider_states
from .consent_context import consent_context, utc_datetime
from .decided.views import answer_again
from .logout.views import signed_out_page
from .passwords.views import security_context
from .sign_in.views import sign_in_page, sign_up_page

_STEP_UP_TRIED = "step_up_tried"  # in the query of the consent page: the user was asked for another kind of sign-in


def make_blueprint(settings: Settings, *, built_in_accounts: bool) -> Blueprint:
    """Return the blueprint with the pages for consent, connected apps and, for Valetkey's own accounts, sign-in.

    :param built_in_accounts: whether accounts are Valetkey's own: then sign-in, sign-up and sign-out are added.
    """
    blueprint = Blueprint("valetkey_resource_owner", __name__)
    consent_path = f"{settings.oauth_path}/consent/<interaction_id>"
    pages.add_page(blueprint, consent_path, GET=("consent", consent_page), POST=("decide", consent_action))
    if settings.account_path is not None:
        pages.add_page(blueprint, settings.account_path, GET=("account", account_page))
        pages.add_page(blueprint, f"{settings.account_path}/revoke", POST=("revoke", revoke_action))
    if built_in_accounts:
        base = settings.account_pages_path
        pages.add_page(blueprint, f"{base}/sign-in", GET=("sign_in", sign_in_page), POST=("sign_in", sign_in_page))
        pages.add_page(blueprint, f"{base}/sign-up", GET=("sign_up", sign_up_page), POST=("sign_up", sign_up_page))
        pages.add_page(blueprint, f"{base}/sign-out", POST=("sign_out", sign_out_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    blueprint.register_error_handler(RequestLost, _lost_request_page)
    return blueprint


def _lost_request_page(refusal: RequestLost) -> Response:
    """Return the error page of a request that this browser cannot continue, with advice for a signed-in user."""
    return pages.render_refusal_page(refusal, advice=texts.SIGNED_IN_NOW if current_owner() else "")


def consent_page(interaction_id: str) -> Response:
    return _show_consent(interaction_id)


def consent_action(interaction_id: str) -> Response:
    """Allow or deny the client's authorization request, as the submitted consent form says.

    Returns the redirect to the client; the consent page again if the form is invalid.

    :param interaction_id: ID of the stored authorization request, from the URL.
    """
    owner = current_owner()
    problem = button_form_problem()
    if problem is not None:
        return _show_consent(interaction_id, problem)
    try:
        return _decide(interaction_id, owner)
    except AlreadyDecided as repeated:
        return answer_again(repeated.pending, _read_decision(repeated.pending), owner)


def _decide(interaction_id: str, owner: Owner | None) -> Response:
    """Allow or deny the client's authorization request, as ``consent_action`` does.

    :raises AlreadyDecided: if the request was decided before, or by another request meanwhile.
    """
    runtime = current_runtime()
    now, address = runtime.clock(), current_address(runtime.settings.trusted_proxies)
    pending = load_pending(interaction_id, cookies.browser_secret(runtime.settings), runtime, now)
    decision = _read_decision(pending)
    if owner is not None and decision == "deny":  # whatever the client requires of a sign-in
        return send_authorization_response(deny(pending, decision, owner, address, runtime, now))
    try:
        consent = find_consent(owner, pending.request.client_id, runtime.store)
        step = required_prompt(  # the page with the form has asked for another kind of sign-in already
            pending.request, pending.target, owner, consent, runtime, now, can_step_up=False
        )
    except OAuthError as refusal:
        return send_authorization_response(refuse(pending, decision, owner, refusal, runtime, now))
    if owner is None or step == "sign_in":
        return _redirect_to_sign_in(pending.request, owner)
    authorization = pending.request
    if not is_shown_now(request.form.get("shown"), authorization.scope, authorization.resources, runtime.settings):
        return _show_consent(interaction_id, texts.PERMISSIONS_CHANGED)
    selected = _selected_scope(pending)
    if pending.request.scope and not selected - {INDIVIDUAL_CLAIMS}:
        return _show_consent(interaction_id, texts.TICK_OR_DENY)
    if request.form.get("decision") != "allow":
        return _show_consent(interaction_id, texts.CHOOSE_DECISION)
    return send_authorization_response(allow(pending, decision, selected, owner, address, runtime, now))


def _selected_scope(pending: PendingAuthorization) -> frozenset[str]:
    """Return what is ticked in the submitted consent form, and the scopes that cannot be unticked."""
    selected = frozenset(request.form.getlist("scope")) & {*pending.request.scope, INDIVIDUAL_CLAIMS}
    return selected | REQUIRED_SCOPES & set(pending.request.scope)


def _read_decision(pending: PendingAuthorization) -> str:
    """Return the submitted decision as a text that is the same if the same form is submitted twice."""
    decision = request.form.get("decision", "")
    return " ".join([decision, *sorted(_selected_scope(pending))]) if decision == "allow" else decision


def sign_out_action() -> Response:
    runtime = current_runtime()
    owner, session = current_owner(), cookies.session_secret(runtime.settings)
    if session is None:  # the button was pressed twice
        return redirect(url_for("valetkey_resource_owner.sign_in"), 303)
    check_button_form()
    apps = list_apps_at_sign_out(owner, runtime, runtime.clock()) if owner else None
    frames = sign_out(session, current_address(runtime.settings.trusted_proxies), runtime, runtime.clock())
    cookies.end_session()
    if frames:
        return signed_out_page(frames, None, apps)
    set_notice("signed-out-with-apps" if apps and apps.remaining else "signed-out")
    return redirect(url_for("valetkey_resource_owner.sign_in"), 303)


def account_page() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in()
    runtime = current_runtime()
    apps = [
        {
            "client_id": app.client_id,
            "name": app.name,
            "scopes": app.scopes,
            "first_granted": utc_datetime(app.first_granted_at),
            "last_used": utc_datetime(app.last_used_at) if app.last_used_at else None,
            "last_granted_from": app.granted_from_address,
        }
        for app in connected_apps.list_connected_apps(owner.sub, runtime, runtime.clock())
    ]
    security = security_context(owner.sub) if isinstance(runtime.owners, BuiltInAccounts) else {}
    providers = list_provider_states(owner.sub, runtime) if isinstance(runtime.owners, BuiltInAccounts) else []
    page = pages.render_page(
        "account.html",
        apps=apps,
        account=owner,
        providers=providers,
        disconnect_next=url_for("valetkey_resource_owner.account"),
        **security,
    )
    return isolate_page(page)


def revoke_action() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_resource_owner.account"))
    check_button_form()
    runtime = current_runtime()
    client_id, now = request.args.get("client_id", ""), runtime.clock()
    if client_id in {app.client_id for app in connected_apps.list_connected_apps(owner.sub, runtime, now)}:
        connected_apps.revoke_connected_app(
            owner.sub, client_id, current_address(runtime.settings.trusted_proxies), runtime.store, now
        )
        set_notice("app-revoked")
    return redirect(url_for("valetkey_resource_owner.account"), 303)


def _show_consent(interaction_id: str, problem: str | None = None) -> Response:
    """Return the consent page; a redirect to the client if no consent is required; or a redirect to the sign-in.

    :param interaction_id: ID of the stored authorization request, from the URL.
    :param problem: what was wrong with the submitted form; None if none was submitted.
    """
    owner = current_owner()
    try:
        return _show_pending(interaction_id, owner, problem)
    except AlreadyDecided as repeated:
        return answer_again(repeated.pending, None, owner)


def _show_pending(
    interaction_id: str, owner: Owner | None, problem: str | None, *, may_step_up: bool = True
) -> Response:
    """Return what ``_show_consent`` returns.

    :param may_step_up: whether to ask the user for another kind of sign-in, if the client wants one.
    :raises AlreadyDecided: if the request was decided before, or by another request meanwhile.
    """
    runtime = current_runtime()
    now = runtime.clock()
    pending = load_pending(interaction_id, cookies.browser_secret(runtime.settings), runtime, now)
    try:
        consent = find_consent(owner, pending.request.client_id, runtime.store)
        can_step_up = may_step_up and runtime.can_step_up and _STEP_UP_TRIED not in request.args
        step = required_prompt(pending.request, pending.target, owner, consent, runtime, now, can_step_up=can_step_up)
    except OAuthError as refusal:
        return send_authorization_response(refuse(pending, "", owner, refusal, runtime, now))
    if owner is None or step == "sign_in":
        try:
            return _redirect_to_sign_in(pending.request, owner)
        except NoSignInPage:
            if not can_step_up:
                raise
            return _show_pending(interaction_id, owner, problem, may_step_up=False)
    if problem is None and step == "issue" and consent is not None and not unticked_before_sign_in():
        response = continue_remembered(pending, owner, consent, runtime, now)
        # None: the request was decided, or the consent withdrawn, since both were read.
        return send_authorization_response(response) if response else _show_pending(interaction_id, owner, None)
    prompt = build_consent_prompt(pending, owner, runtime)
    context = _consent_page_context(prompt, owner, problem)
    return pages.render_page("consent.html", 400 if problem else 200, **context)


def _redirect_to_sign_in(authorization: AuthorizationRequest, owner: Owner | None) -> Response:
    """Return the redirect to the sign-in page, after which the consent page is shown as the user left it.

    It then asks for no other kind of sign-in again.
    """
    has_claims = claims_beyond_scope(authorization, current_runtime().settings)
    unticked = unticked_scope([*authorization.scope, *([INDIVIDUAL_CLAIMS] if has_claims else [])])
    query = {_STEP_UP_TRIED: "1"} if authorization.acr_values else {}
    next_path = with_unticked(request.script_root + request.path, unticked, query)
    return redirect_to_sign_in(next_path, fresh=owner is not None, acr_values=authorization.acr_values)


def _consent_page_context(prompt: ConsentPrompt, owner: Owner, problem: str | None) -> dict[str, Any]:
    unticked = unticked_scope(name for name, _, _ in prompt.scopes)
    return {
        **consent_context(
            prompt.target.client,
            prompt,
            owner,
            problem=problem,
            unticked=unticked,
            use_other_account_url=other_account_url(current_full_path()),
        ),
        "redirect_host": prompt.redirect_host,
        "loopback_warning": prompt.redirects_to_loopback,
        "only_difference": prompt.only_new_scopes and not unticked,
    }
