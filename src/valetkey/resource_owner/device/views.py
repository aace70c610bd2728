"""Views of the device pages (RFC 8628 §3.3): enter a user code, then allow or deny the request of the device."""

from __future__ import annotations

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.authorization_server.authorize.consent_record import REQUIRED_SCOPES
from valetkey.authorization_server.authorize.shown_scopes import is_shown_now
from valetkey.authorization_server.device.approval import (
    DeviceConsent,
    allow,
    build_device_consent_prompt,
    deny,
    enter_user_code,
    load_device_consent,
)
from valetkey.protocol.errors import InvalidRequest, OAuthError
from valetkey.protocol.user_code import format_user_code, parse_user_code
from valetkey.resource_owner import texts
from valetkey.resource_owner.consent_context import consent_context
from valetkey.resource_owner.decided.views import decided_page
from valetkey.resource_owner.forms import UserCodeForm
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import button_form_problem
from valetkey.web.resource_owners import current_owner, redirect_to_sign_in


def make_blueprint(device_path: str) -> Blueprint:
    """Return the blueprint with the device pages; their templates are in ``resource_owner``.

    :param device_path: path of the page on which the user enters the code.
    """
    blueprint = Blueprint("valetkey_device", __name__)
    pages.add_page(blueprint, device_path, GET=("enter", enter_page), POST=("entered", enter_action))
    consent_path = f"{device_path}/<interaction_id>"
    pages.add_page(blueprint, consent_path, GET=("consent", consent_page), POST=("decide", consent_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def enter_page() -> Response:
    """Show the form for the user code; a user who is not signed in is redirected to the sign-in page.

    A code in the URL is filled in, but the user must confirm it (RFC 8628 §3.3.1).
    """
    if current_owner() is None:
        return redirect_to_sign_in()
    code = parse_user_code(request.args.get("user_code", ""))
    user_code = format_user_code(code) if code else None
    form = UserCodeForm(user_code=user_code or "")
    return pages.render_page("device.html", form=form, given=user_code, problem=None)


def enter_action() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_device.enter"))
    form = UserCodeForm(request.form)
    if not form.validate():
        return pages.render_page("device.html", 400, form=form, given=None, problem=None)
    runtime = current_runtime()
    browser, address = (
        cookies.browser_secret(runtime.settings).digest(),
        current_address(runtime.settings.trusted_proxies),
    )
    try:
        interaction_id = enter_user_code(form.user_code.data, owner, browser, address, runtime, runtime.clock())
    except InvalidRequest as refusal:
        return pages.render_page("device.html", 400, form=form, given=None, problem=refusal.description)
    return redirect(url_for("valetkey_device.consent", interaction_id=interaction_id.reveal()), 303)


def consent_page(interaction_id: str) -> Response:
    return _show_consent(interaction_id)


def consent_action(interaction_id: str) -> Response:
    """Store that the owner allows or denies the request of the device, as the submitted form says.

    The device gets the result when it next polls the token endpoint.
    """
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_device.enter"))
    problem = button_form_problem()
    if problem is not None:
        return _show_consent(interaction_id, problem)
    runtime = current_runtime()
    now, address = runtime.clock(), current_address(runtime.settings.trusted_proxies)
    browser = cookies.browser_secret(runtime.settings).digest()
    consent = load_device_consent(interaction_id, owner, browser, runtime, now)
    if consent.is_decided:
        return _decision_page(consent)
    selected = (frozenset(request.form.getlist("scope")) | REQUIRED_SCOPES) & set(consent.scope)
    decision = request.form.get("decision")
    if decision not in {"allow", "deny"}:
        return _show_consent(interaction_id, texts.CHOOSE_DECISION)
    shown = request.form.get("shown")
    if decision == "allow" and not is_shown_now(shown, consent.scope, consent.resources, runtime.settings):
        return _show_consent(interaction_id, texts.PERMISSIONS_CHANGED)
    if decision == "allow" and consent.scope and not selected:
        return _show_consent(interaction_id, texts.TICK_OR_DENY)
    try:
        if decision == "deny":
            deny(consent, owner, address, runtime.store, now)
        else:
            allow(consent, selected, owner, address, runtime, now)
    except InvalidRequest:
        consent = load_device_consent(interaction_id, owner, browser, runtime, now)
        if not consent.is_decided:  # not by the same form, submitted twice
            raise
        return _decision_page(consent)
    return _decision_page(load_device_consent(interaction_id, owner, browser, runtime, now))


def _show_consent(interaction_id: str, problem: str | None = None) -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_device.enter"))
    runtime = current_runtime()
    browser = cookies.browser_secret(runtime.settings).digest()
    try:
        consent: DeviceConsent = load_device_consent(interaction_id, owner, browser, runtime, runtime.clock())
    except OAuthError as refusal:
        return pages.render_refusal_page(refusal, advice=texts.ENTER_CURRENT_CODE)
    if consent.is_decided:
        return _decision_page(consent)
    prompt = build_device_consent_prompt(consent, owner, runtime)
    context = consent_context(
        consent.client, prompt, owner, problem=problem, submitted_scope=request.form.getlist("scope")
    )
    return pages.render_page("consent.html", 400 if problem else 200, user_code=consent.user_code, **context)


def _decision_page(consent: DeviceConsent) -> Response:
    """Return the page after the owner's decision, also if the form says another one now: the first one counts."""
    if request.form.get("decision") != ("allow" if consent.is_allowed else "deny"):
        return decided_page(consent.client.name, is_allowed=consent.is_allowed, continue_in="your device")
    title = texts.DEVICE_CONNECTED_TITLE if consent.is_allowed else texts.DEVICE_DENIED_TITLE
    sentence = (texts.DEVICE_CONNECTED if consent.is_allowed else texts.DEVICE_DENIED).format(app=consent.client.name)
    return pages.render_page("message.html", title=title, sentence=sentence, link_url=None)
