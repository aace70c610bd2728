"""The blueprint of the pages for passwords, mailed links and sign-in sessions, and the views for a signed-in user.

The views read requests and render pages; the rules are in the package ``accounts``.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.security import change_password, sign_out_everywhere
from valetkey.protocol.secret import random_id
from valetkey.resource_owner.access.views import access_action, access_page, load_current_review
from valetkey.resource_owner.consent_context import utc_datetime
from valetkey.resource_owner.forms import ChangePasswordForm
from valetkey.resource_owner.mail_requests.views import (
    current_login_context,
    first_password_page,
    forgotten_password_page,
    may_mail_password_link,
    require_passwords,
    send_verification_action,
)
from valetkey.resource_owner.mailed_links.views import mail_link_page
from valetkey.storage import accounts, sessions
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import check_button_form
from valetkey.web.resource_owners import current_owner, redirect_to_sign_in


def make_blueprint() -> Blueprint:
    """Return the blueprint with the pages for passwords, mailed links and sign-in sessions of Valetkey's own accounts.

    Their templates are in ``resource_owner``.
    """
    blueprint = Blueprint("valetkey_passwords", __name__)
    pages.add_page(
        blueprint, "/forgotten", GET=("forgotten", forgotten_password_page), POST=("forgotten", forgotten_password_page)
    )
    pages.add_page(blueprint, "/mail/<secret>", GET=("mailed", mail_link_page), POST=("mailed", mail_link_page))
    pages.add_page(
        blueprint, "/password", GET=("password", change_password_page), POST=("password", change_password_page)
    )
    pages.add_page(blueprint, "/access", GET=("access", access_page), POST=("end_access", access_action))
    pages.add_page(blueprint, "/verify", POST=("verify", send_verification_action))
    pages.add_page(blueprint, "/sign-out-everywhere", POST=("everywhere", sign_out_everywhere_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def change_password_page() -> Response:
    """Show and handle the form that changes the password; if the account has none, the page on which to get one."""
    require_passwords()
    owner, runtime = current_owner(), current_runtime()
    session = cookies.session_secret(runtime.settings)
    if owner is None or session is None:
        return redirect_to_sign_in(url_for("valetkey_passwords.password"))
    account = accounts.find(runtime.store, owner.sub)
    if account is not None and account.password_hash is None:
        return first_password_page(owner)
    form = ChangePasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        old, new = form.current.data, form.password.data
        try:
            change_password(
                owner.sub, old, new, session, current_login_context(runtime.settings), runtime, runtime.clock()
            )
        except SignInRefused as refusal:
            problem = refusal
        else:
            set_notice("password-set")
            return redirect(url_for("valetkey_passwords.access"), 303)
    return pages.render_form("change_password.html", form, problem, email=owner.email)


def sign_out_everywhere_action() -> Response:
    owner, runtime = current_owner(), current_runtime()
    if cookies.session_secret(runtime.settings) is None:  # the button was pressed twice
        return redirect(url_for("valetkey_resource_owner.sign_in"), 303)
    check_button_form()
    if owner is not None:
        sign_out_everywhere(owner.sub, current_address(runtime.settings.trusted_proxies), runtime, runtime.clock())
    cookies.end_session()
    set_notice("signed-out-everywhere")
    return redirect(url_for("valetkey_resource_owner.sign_in"), 303)


def security_context(sub: str) -> dict[str, Any]:
    """Return the template variables of the account page about security.

    ``has_password``: whether the user can sign in with a password. ``may_set_password``: whether a user without one can
    get a link by mail to set one. ``reset_is_unreviewed``: whether the password was
    reset and the user has not looked through what else has access. ``may_verify``: whether the user can request a mail
    that verifies the e-mail address; ``verification_submission``: the random text in that form, by which a second
    submission is recognized. ``sessions``: the active sign-in sessions, newest first.
    """
    runtime = current_runtime()
    account, secret = accounts.find(runtime.store, sub), cookies.session_secret(runtime.settings)
    digest = secret.digest() if secret else b""
    active_sessions = sessions.list_active(runtime.store, sub, runtime.clock())
    return {
        "has_password": bool(runtime.settings.password_sign_in and account and account.has_usable_password),
        "may_set_password": bool(account and account.password_hash is None and may_mail_password_link(account.email)),
        "reset_is_unreviewed": bool(
            account and account.unreviewed_since is not None and load_current_review(sub, runtime).is_due
        ),
        "may_verify": bool(
            runtime.settings.mail_url and account and account.email and account.email_verified_at is None
        ),
        "verification_submission": random_id(),
        "sessions": [
            {
                "began": utc_datetime(session.began_at),
                "address": session.address,
                "is_here": bytes(session.digest) == digest,
            }
            for session in sorted(active_sessions, key=lambda session: -session.began_at)
        ],
    }
