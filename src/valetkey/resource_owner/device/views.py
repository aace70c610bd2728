"""Views of the device pages (RFC 8628 §3.3): enter a user code, then allow or deny the request of the device."""

from __future__ import annotations

from collections.abc import Callable

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
    find_entered_code,
    load_device_consent,
)
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.user_code import format_user_code, parse_user_code
from valetkey.resource_owner import texts
from valetkey.resource_owner.consent_context import consent_context
from valetkey.resource_owner.decided.views import decided_page
from valetkey.resource_owner.forms import UserCodeForm
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import button_form_problem
from valetkey.web.resource_owners import current_full_path, current_owner, other_account_url, redirect_to_sign_in
from valetkey.web.unticked_scopes import unticked_before_sign_in, unticked_scope, with_unticked


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
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in()
    code = parse_user_code(request.args.get("user_code", ""))
    user_code = format_user_code(code) if code else None
    form = UserCodeForm(user_code=user_code or "")
    return _code_page(form, owner, url_code=user_code)


def enter_action() -> Response:
    owner = current_owner()
    if owner is None:
        code = parse_user_code(request.form.get("user_code", ""))
        query = {"user_code": format_user_code(code)} if code else {}
        path = with_unticked(url_for("valetkey_device.enter"), unticked_before_sign_in(), query)
        return redirect_to_sign_in(path)
    form = UserCodeForm(request.form)
    if not form.validate():
        return _code_page(form, owner, 400)
    runtime = current_runtime()
    browser, address = (
        cookies.browser_secret(runtime.settings).digest(),
        current_address(runtime.settings.trusted_proxies),
    )
    try:
        interaction_id = enter_user_code(form.user_code.data, owner, browser, address, runtime, runtime.clock())
    except InvalidRequest as refusal:
        return _code_page(form, owner, 400, problem=refusal.description)
    path = url_for("valetkey_device.consent", interaction_id=interaction_id.reveal())
    return redirect(with_unticked(path, unticked_before_sign_in(), {}), 303)


def _code_page(
    form: UserCodeForm, owner: Owner, status: int = 200, *, url_code: str | None = None, problem: str | None = None
) -> Response:
    """Return the page with the form for the user code.

    :param url_code: the code of the URL, which the user only confirms.
    """
    action = with_unticked(url_for("valetkey_device.entered"), unticked_before_sign_in(), {})
    return pages.render_page(
        "device.html",
        status,
        form=form,
        action=action,
        given=url_code,
        problem=problem,
        owner=owner,
        use_other_account_url=other_account_url(current_full_path()),
    )


def consent_page(interaction_id: str) -> Response:
    return _respond(interaction_id, _show_consent)


def consent_action(interaction_id: str) -> Response:
    """Store that the owner allows or denies the request of the device, as the submitted form says.

    The device gets the result when it next polls the token endpoint.
    """
    return _respond(interaction_id, _decide)


def _respond(interaction_id: str, view: Callable[[str, Owner], Response]) -> Response:
    """Return the response of a view; a redirect to the sign-in page; or an error page that leads to the code form."""
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(_code_path(interaction_id))
    try:
        return view(interaction_id, owner)
    except InvalidRequest as refusal:
        link = _code_path(interaction_id), texts.ENTER_CODE_LINK
        return pages.render_refusal_page(refusal, advice=texts.ENTER_CURRENT_CODE, link=link)


def _decide(interaction_id: str, owner: Owner) -> Response:
    problem = button_form_problem()
    if problem is not None:
        return _show_consent(interaction_id, owner, problem)
    runtime = current_runtime()
    now, address = runtime.clock(), current_address(runtime.settings.trusted_proxies)
    browser = cookies.browser_secret(runtime.settings).digest()
    consent = load_device_consent(interaction_id, owner, browser, runtime, now)
    if consent.is_decided:
        return _decision_page(consent)
    selected = (frozenset(request.form.getlist("scope")) | REQUIRED_SCOPES) & set(consent.scope)
    decision = request.form.get("decision")
    if decision not in {"allow", "deny"}:
        return _show_consent(interaction_id, owner, texts.CHOOSE_DECISION)
    shown = request.form.get("shown")
    if decision == "allow" and not is_shown_now(shown, consent.scope, consent.resources, runtime.settings):
        return _show_consent(interaction_id, owner, texts.PERMISSIONS_CHANGED)
    if decision == "allow" and consent.scope and not selected:
        return _show_consent(interaction_id, owner, texts.TICK_OR_DENY)
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


def _show_consent(interaction_id: str, owner: Owner, problem: str | None = None) -> Response:
    runtime = current_runtime()
    browser = cookies.browser_secret(runtime.settings).digest()
    consent: DeviceConsent = load_device_consent(interaction_id, owner, browser, runtime, runtime.clock())
    if consent.is_decided:
        return _decision_page(consent)
    prompt = build_device_consent_prompt(consent, owner, runtime)
    context = consent_context(
        consent.client,
        prompt,
        owner,
        problem=problem,
        unticked=unticked_scope(name for name, _, _ in prompt.scopes),
        use_other_account_url=other_account_url(_code_path(interaction_id)),
    )
    return pages.render_page("consent.html", 400 if problem else 200, user_code=consent.user_code, **context)


def _code_path(interaction_id: str) -> str:
    """Return the path of the page on which the user confirms, after a sign-in, the code that was entered before.

    What was unticked stays so. Without an id that this browser has got, it is the page to enter a code.
    """
    runtime = current_runtime()
    code = find_entered_code(interaction_id, cookies.browser_secret(runtime.settings).digest(), runtime.store)
    if code is None:
        return url_for("valetkey_device.enter")
    query = {"user_code": format_user_code(code.user_code)}
    return with_unticked(url_for("valetkey_device.enter"), unticked_scope(parse_scope(code.scope)), query)


def _decision_page(consent: DeviceConsent) -> Response:
    """Return the page after the owner's decision, also if the form says another one now: the first one counts."""
    if request.form.get("decision") != ("allow" if consent.is_allowed else "deny"):
        return decided_page(consent.client.name, is_allowed=consent.is_allowed, continue_in="your device")
    title = texts.DEVICE_CONNECTED_TITLE if consent.is_allowed else texts.DEVICE_DENIED_TITLE
    sentence = (texts.DEVICE_CONNECTED if consent.is_allowed else texts.DEVICE_DENIED).format(app=consent.client.name)
    return pages.render_page("message.html", title=title, sentence=sentence, link_url=None)
