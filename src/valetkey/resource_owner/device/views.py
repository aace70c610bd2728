"""Views of the device pages (RFC 8628 §3.3): enter a user code, then allow or deny the request of the device."""

from __future__ import annotations

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.authorization_server.authorize.consent_record import REQUIRED_SCOPES
from valetkey.authorization_server.device.approval import (
    DeviceConsent,
    allow,
    deny,
    describe_requested_scopes,
    enter_user_code,
    load_device_consent,
)
from valetkey.protocol.errors import InvalidRequest, OAuthError
from valetkey.protocol.user_code import format_user_code, parse_user_code
from valetkey.resource_owner.consent_context import consent_context
from valetkey.resource_owner.forms import ConsentForm, UserCodeForm
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import FORM_EXPIRED
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
    browser, address = cookies.browser_secret(runtime).digest(), current_address(runtime)
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
    if not ConsentForm(request.form).validate():
        return _show_consent(interaction_id, FORM_EXPIRED)
    runtime = current_runtime()
    now, address = runtime.clock(), current_address(runtime)
    consent = load_device_consent(interaction_id, owner, cookies.browser_secret(runtime).digest(), runtime, now)
    if request.form.get("decision") == "deny":
        deny(consent, owner, address, runtime, now)
        return _decision_page(
            "You denied access", f"{consent.client.name} cannot use your account. You can close this page."
        )
    selected = (frozenset(request.form.getlist("scope")) | REQUIRED_SCOPES) & set(consent.scope)
    if consent.scope and not selected:
        return _show_consent(interaction_id, "Tick at least one item, or choose Deny.")
    if request.form.get("decision") != "allow":
        return _show_consent(interaction_id, "Choose Allow or Deny.")
    allow(consent, selected, owner, address, runtime, now)
    return _decision_page(
        "Your device is connected", f"{consent.client.name} goes on there by itself. You can close this page."
    )


def _show_consent(interaction_id: str, problem: str | None = None) -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_device.enter"))
    runtime = current_runtime()
    browser = cookies.browser_secret(runtime).digest()
    try:
        consent: DeviceConsent = load_device_consent(interaction_id, owner, browser, runtime, runtime.clock())
    except OAuthError as refusal:
        return pages.render_refusal_page(refusal, advice="Enter the code that your device shows now.")
    context = consent_context(consent.client, describe_requested_scopes(consent, owner, runtime), owner)
    status = 400 if problem else 200
    return pages.render_page("consent.html", status, problem=problem, user_code=consent.user_code, **context)


def _decision_page(title: str, sentence: str) -> Response:
    return pages.render_page("message.html", title=title, sentence=sentence, link_url=None)
