"""Views for consent, sign-in, sign-up, sign-out and connected apps.

They read requests and render pages; the rules are in the packages ``accounts`` and ``authorization_server``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.sign_in import LoginContext, SignInRefused, sign_in, sign_up
from valetkey.accounts.sign_out import sign_out
from valetkey.authorization_server import connected_apps
from valetkey.authorization_server.authorize.consent import (
    INDIVIDUAL_CLAIMS,
    ConsentPrompt,
    PendingAuthorization,
    allow,
    build_consent_prompt,
    deny,
    load_pending,
    refuse,
)
from valetkey.authorization_server.authorize.consent_record import REQUIRED_SCOPES
from valetkey.authorization_server.authorize.prompt import required_prompt
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import FORM_EXPIRED, check_csrf
from valetkey.web.pages import send_authorization_response
from valetkey.web.resource_owners import BuiltInAccounts, current_full_path, current_owner, redirect_to_sign_in

from .consent_context import client_context, consent_context, utc_datetime
from .forms import ConsentForm, SignInForm, SignUpForm
from .logout.views import signed_out_page
from .passwords.views import security_context, sign_up_by_mail_page

_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def make_blueprint(oauth_path: str, account_path: str | None, *, built_in_accounts: bool) -> Blueprint:
    """Return the blueprint with the pages for consent, connected apps and, for Valetkey's own accounts, sign-in.

    :param oauth_path: path of the OAuth endpoints, below which the consent page is.
    :param account_path: path of the account page; None if the app has no account page.
    :param built_in_accounts: whether accounts are Valetkey's own: then sign-in, sign-up and sign-out are added.
    """
    blueprint = Blueprint("valetkey_resource_owner", __name__, template_folder="templates")
    consent_path = f"{oauth_path}/consent/<interaction_id>"
    pages.add_page(blueprint, consent_path, GET=("consent", consent_page), POST=("decide", consent_action))
    if account_path is not None:
        pages.add_page(blueprint, account_path, GET=("account", account_page))
        pages.add_page(blueprint, f"{account_path}/revoke", POST=("revoke", revoke_action))
    if built_in_accounts:
        base = account_path or f"{oauth_path}/account"
        pages.add_page(blueprint, f"{base}/sign-in", GET=("sign_in", sign_in_page), POST=("sign_in", sign_in_page))
        pages.add_page(blueprint, f"{base}/sign-up", GET=("sign_up", sign_up_page), POST=("sign_up", sign_up_page))
        pages.add_page(blueprint, f"{base}/sign-out", POST=("sign_out", sign_out_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def consent_page(interaction_id: str) -> Response:
    return _show_consent(interaction_id)


def consent_action(interaction_id: str) -> Response:
    """Allow or deny the client's authorization request, as the submitted consent form says.

    Returns the redirect to the client; the consent page again if the form is invalid.

    :param interaction_id: ID of the stored authorization request, from the URL.
    """
    owner = current_owner()
    form = ConsentForm(request.form)
    if not form.validate():
        return _show_consent(interaction_id, FORM_EXPIRED)
    runtime = current_runtime()
    now, address = runtime.clock(), current_address(runtime)
    pending = load_pending(interaction_id, cookies.browser_secret(runtime).digest(), runtime, now)
    try:
        step = required_prompt(pending.request, pending.target, owner, runtime, now)
    except OAuthError as refusal:
        return send_authorization_response(refuse(pending, refusal, runtime, now))
    if owner is None or step == "sign_in":
        return redirect_to_sign_in(fresh=owner is not None, acr_values=pending.request.acr_values)
    if request.form.get("decision") == "deny":
        return send_authorization_response(deny(pending, owner, address, runtime, now))
    selected = frozenset(request.form.getlist("scope")) & {*pending.request.scope, INDIVIDUAL_CLAIMS}
    selected |= REQUIRED_SCOPES & set(pending.request.scope)
    if pending.request.scope and not selected - {INDIVIDUAL_CLAIMS}:
        return _show_consent(interaction_id, "Tick at least one item, or choose Deny.")
    if request.form.get("decision") != "allow":
        return _show_consent(interaction_id, "Choose Allow or Deny.")
    return send_authorization_response(allow(pending, selected, owner, address, runtime, now))


def sign_in_page() -> Response:
    form = SignInForm(request.form if request.method == "POST" else request.args)

    def start_session(runtime: Runtime) -> Secret:
        return sign_in(form.email.data, form.password.data, _login_context(runtime), runtime, runtime.clock())

    return _handle_account_form("sign_in.html", form, start_session)


def sign_up_page() -> Response:
    if not current_runtime().settings.sign_up:
        abort(404)
    if current_runtime().settings.mail_url:
        return sign_up_by_mail_page(_safe_local_path(request.values.get("next")))
    form = SignUpForm(request.form if request.method == "POST" else request.args)

    def start_session(runtime: Runtime) -> Secret:
        fields = (form.name.data, form.email.data, form.password.data)
        return sign_up(*fields, _login_context(runtime), runtime, runtime.clock())

    return _handle_account_form("sign_up.html", form, start_session)


def _handle_account_form(
    template: str, form: SignInForm | SignUpForm, start_session: Callable[[Runtime], Secret]
) -> Response:
    """Show the sign-in or sign-up form; if it was submitted without errors, start a session and redirect.

    The redirect leads to the path in the form's field ``next``.

    :param start_session: returns the secret of the new session, or raises ``SignInRefused``.
    """
    problem, status = None, 200
    if request.method == "POST" and form.validate():
        try:
            secret = start_session(current_runtime())
        except SignInRefused as refusal:
            problem, status = refusal.message, 429 if refusal.retry_after else 400
        else:
            cookies.begin_session(secret)
            return redirect(_safe_local_path(form.next.data), 303)
    elif request.method == "POST":
        status = 400
    return _render_account_form(template, form, problem, status)


def sign_out_action() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    runtime = current_runtime()
    session = cookies.session_secret(runtime)
    frames = sign_out(session, current_address(runtime), runtime, runtime.clock()) if session else ()
    cookies.end_session()
    if frames:
        return signed_out_page(frames, None)
    set_notice("signed-out")
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
    return pages.render_page("account.html", apps=apps, account=owner, **security)


def revoke_action() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_resource_owner.account"))
    runtime = current_runtime()
    client_id = request.args.get("client_id", "")
    connected_apps.revoke_connected_app(owner.sub, client_id, current_address(runtime), runtime, runtime.clock())
    set_notice("app-revoked")
    return redirect(url_for("valetkey_resource_owner.account"), 303)


def _show_consent(interaction_id: str, problem: str | None = None) -> Response:
    """Return the consent page; a redirect to the client if no consent is required; or a redirect to the sign-in.

    :param interaction_id: ID of the stored authorization request, from the URL.
    :param problem: what was wrong with the submitted form; None if none was submitted.
    """
    runtime = current_runtime()
    now = runtime.clock()
    pending = load_pending(interaction_id, cookies.browser_secret(runtime).digest(), runtime, now)
    owner = current_owner()
    try:
        step = required_prompt(pending.request, pending.target, owner, runtime, now)
    except OAuthError as refusal:
        return send_authorization_response(refuse(pending, refusal, runtime, now))
    if owner is None or step == "sign_in":
        return redirect_to_sign_in(fresh=owner is not None, acr_values=pending.request.acr_values)
    if problem is None and step == "issue":
        scope = frozenset(pending.request.scope)
        return send_authorization_response(allow(pending, scope, owner, current_address(runtime), runtime, now))
    prompt = build_consent_prompt(pending, owner, runtime)
    status = 400 if problem else 200
    return pages.render_page("consent.html", status, problem=problem, **_consent_page_context(prompt, owner))


def _consent_page_context(prompt: ConsentPrompt, owner: Owner) -> dict[str, Any]:
    return {
        **consent_context(prompt.target.client, prompt.scopes, owner),
        "redirect_host": prompt.redirect_host,
        "loopback_warning": prompt.redirects_to_loopback,
        "only_difference": prompt.only_new_scopes,
        "use_other_account_url": _other_account_url(),
    }


def _other_account_url() -> str | None:
    """Return the URL to sign in with another account and then return to the current page.

    Return None if the accounts are those of the host app.
    """
    has_built_in_accounts = isinstance(current_runtime().owners, BuiltInAccounts)
    return url_for("valetkey_resource_owner.sign_in", next=current_full_path()) if has_built_in_accounts else None


def _render_account_form(template: str, form: SignInForm | SignUpForm, problem: str | None, status: int) -> Response:
    next_path = _safe_local_path(form.next.data)
    pending = _find_pending_authorization(next_path)
    if pending and request.method == "GET" and not form.email.data:
        form.email.data = pending.request.login_hint
    context = {"form": form, "problem": problem, "app": client_context(pending.target.client) if pending else None}
    if current_runtime().settings.sign_up:
        context["sign_up_url"] = url_for("valetkey_resource_owner.sign_up", next=next_path)
    if current_runtime().settings.mail_url:
        context["forgotten_url"] = url_for("valetkey_passwords.forgotten")
    context["sign_in_url"] = url_for("valetkey_resource_owner.sign_in", next=next_path)
    return pages.render_page(template, status, **context)


def _find_pending_authorization(next_path: str) -> PendingAuthorization | None:
    """Return the authorization request whose consent page is at this path, or None if the path is no consent page.

    Also returns None if the request has expired or belongs to another browser. The sign-in page names its client.
    """
    interaction_id = re.fullmatch(r".*/consent/([A-Za-z0-9_]+)", next_path)
    if interaction_id is None:
        return None
    runtime = current_runtime()
    try:
        return load_pending(interaction_id[1], cookies.browser_secret(runtime).digest(), runtime, runtime.clock())
    except OAuthError:
        return None


def _safe_local_path(path: str | None) -> str:
    """Return the path to redirect to: the given one if it is a path of this site, else the account page or ``/``.

    So the page cannot be used as an open redirector.
    """
    if path and _LOCAL_PATH.fullmatch(path):
        return path
    return url_for("valetkey_resource_owner.account") if current_runtime().settings.account_path else "/"


def _login_context(runtime: Runtime) -> LoginContext:
    return LoginContext(cookies.browser_secret(runtime), current_address(runtime), cookies.session_secret(runtime))
