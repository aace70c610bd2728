"""Views for sign-in and sign-up: they read requests and render pages; the rules are in the package ``accounts``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import abort, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.sign_in import sign_in
from valetkey.accounts.sign_up import sign_up
from valetkey.authorization_server.authorize.consent import load_pending
from valetkey.authorization_server.authorize.request import PendingAuthorization
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.secret import Secret
from valetkey.resource_owner.consent_context import client_context
from valetkey.resource_owner.forms import SignInForm, SignUpForm
from valetkey.resource_owner.mail_requests.views import (
    current_login_context,
    require_passwords,
    sign_up_by_mail_page,
)
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.web import cookies, pages
from valetkey.web.context import current_runtime
from valetkey.web.local_path import safe_local_path


def sign_in_page() -> Response:
    form = SignInForm(request.form if request.method == "POST" else request.args)
    if request.method == "POST":
        require_passwords()

    def start_session(runtime: Runtime) -> Secret:
        return sign_in(
            form.email.data, form.password.data, current_login_context(runtime.settings), runtime, runtime.clock()
        )

    return _handle_account_form("sign_in.html", form, start_session, providers_context)


def sign_up_page() -> Response:
    if not may_sign_up() or (request.method == "POST" and not _may_sign_up_with_password()):
        abort(404)
    if current_runtime().settings.mail_url:
        next_path = safe_local_path(request.values.get("next"))
        return sign_up_by_mail_page(next_path, _sign_up_context(next_path))
    form = SignUpForm(request.form if request.method == "POST" else request.args)

    def start_session(runtime: Runtime) -> Secret:
        fields = (form.name.data, form.email.data, form.password.data)
        return sign_up(*fields, current_login_context(runtime.settings), runtime, runtime.clock())

    return _handle_account_form("sign_up.html", form, start_session, _sign_up_context)


def _handle_account_form(
    template: str,
    form: SignInForm | SignUpForm,
    start_session: Callable[[Runtime], Secret],
    make_context: Callable[[str], dict[str, Any]],
) -> Response:
    """Show the sign-in or sign-up form; if it was submitted without errors, start a session and redirect.

    The redirect leads to the path in the form's field ``next``.

    :param start_session: returns the secret of the new session, or raises ``SignInRefused``.
    :param make_context: returns the template variables of the buttons for providers, for the path to continue with.
    """
    problem = None
    if request.method == "POST" and form.validate():
        try:
            secret = start_session(current_runtime())
        except SignInRefused as refusal:
            problem = refusal
        else:
            cookies.begin_session(secret)
            return redirect(safe_local_path(form.next.data), 303)
    next_path = safe_local_path(form.next.data)
    return _render_account_form(template, form, problem, next_path, make_context(next_path))


def _render_account_form(
    template: str,
    form: SignInForm | SignUpForm,
    problem: SignInRefused | None,
    next_path: str,
    context: dict[str, Any],
) -> Response:
    pending = find_pending_authorization(next_path)
    if pending and request.method == "GET" and not form.email.data:
        form.email.data = pending.request.login_hint
    context["app"] = client_context(pending.target.client) if pending else None
    if may_sign_up():
        context["sign_up_url"] = url_for("valetkey_resource_owner.sign_up", next=next_path)
    if current_runtime().settings.mail_url and current_runtime().settings.password_sign_in:
        context["forgotten_url"] = url_for("valetkey_passwords.forgotten", next=next_path)
    context["sign_in_url"] = url_for("valetkey_resource_owner.sign_in", next=next_path)
    return pages.render_form(template, form, problem, **context)


def find_pending_authorization(next_path: str) -> PendingAuthorization | None:
    """Return the authorization request whose consent page is at this path, or None if the path is no consent page.

    Also returns None if the request has expired or belongs to another browser. The sign-in page names its client.
    """
    interaction_id = re.fullmatch(r".*/consent/([A-Za-z0-9_]+)(?:\?.*)?", next_path)
    if interaction_id is None:
        return None
    runtime = current_runtime()
    try:
        return load_pending(interaction_id[1], cookies.browser_secret(runtime.settings), runtime, runtime.clock())
    except OAuthError:
        return None


def may_sign_up() -> bool:
    """Return whether the sign-up page is shown: users can create accounts, with a password or with a provider."""
    return _may_sign_up_with_password() or bool(_sign_up_providers())


def _may_sign_up_with_password() -> bool:
    settings = current_runtime().settings
    return settings.sign_up and settings.password_sign_in


def _sign_up_providers() -> list[SignInProvider]:
    """Return the providers with which users, or some of them, can create accounts."""
    settings = current_runtime().settings
    return [
        provider
        for provider in settings.sign_in_with
        if (settings.sign_up if provider.sign_up is None else provider.sign_up)
    ]


def providers_context(next_path: str) -> dict[str, Any]:
    """Return the template variables of the buttons for providers, which are in the order of the setting.

    :param next_path: local path to continue with after the sign-in.
    """
    settings = current_runtime().settings
    return {
        "providers": settings.sign_in_with,
        "has_passwords": settings.password_sign_in,
        "next_path": next_path,
    }


def _sign_up_context(next_path: str) -> dict[str, Any]:
    """Return what ``providers_context`` returns, with only the ways in which users can sign up, for a sign-up page."""
    ways = {"providers": _sign_up_providers(), "has_passwords": _may_sign_up_with_password()}
    return {**providers_context(next_path), **ways}
