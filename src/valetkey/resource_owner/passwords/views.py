"""Views for passwords, mailed links and sign-in sessions.

They read requests and render pages; the rules are in the package ``accounts``.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.mail_links import (
    RESET_PASSWORD,
    SIGN_UP,
    VERIFY_EMAIL,
    get_link,
    request_mail_link,
    set_password_with_link,
    verify_email,
)
from valetkey.accounts.security import change_password, sign_out_everywhere
from valetkey.accounts.sign_in import LoginContext, SignInRefused
from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.errors import InvalidRequest
from valetkey.resource_owner.consent_context import utc_datetime
from valetkey.resource_owner.forms import (
    ChangePasswordForm,
    ConfirmForm,
    ForgottenPasswordForm,
    MailSignUpForm,
    NewPasswordForm,
)
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_route, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import check_csrf
from valetkey.web.request_id import request_id
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
    pages.add_page(blueprint, "/verify", POST=("verify", send_verification_action))
    pages.add_page(blueprint, "/sign-out-everywhere", POST=("everywhere", sign_out_everywhere_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def sign_up_by_mail_page(next_path: str) -> Response:
    """Show the sign-up form or, if it was submitted, mail a link to the page on which the user chooses a password.

    :param next_path: local path to continue at after the sign-up.
    """
    form = MailSignUpForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _request_link(SIGN_UP, form.email.data, name=form.name.data, next_path=next_path)
        if problem is None:
            return _check_your_mail_page(form.email.data)
    status = _form_status(problem, form)
    return pages.render_page("sign_up_by_mail.html", status, form=form, problem=problem and problem.message)


def forgotten_password_page() -> Response:
    _require_mail_setting()
    form = ForgottenPasswordForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _request_link(RESET_PASSWORD, form.email.data)
        if problem is None:
            return _check_your_mail_page(form.email.data)
    return pages.render_page(
        "forgotten.html", _form_status(problem, form), form=form, problem=problem and problem.message
    )


def mail_link_page(secret: str) -> Response:
    """Show and handle the page of a mailed link: confirm an e-mail address, or choose a password.

    The password is for a new or an existing account, as the link says. GET changes nothing, because programs that scan
    mail open links, too.

    :param secret: the secret at the end of the link.
    """
    runtime = current_runtime()
    now = runtime.clock()
    try:
        link = get_link(secret, runtime, now)
    except InvalidRequest as refusal:
        return _expired_link_page(refusal)
    if link.purpose == VERIFY_EMAIL:
        form = ConfirmForm(request.form)
        if request.method == "POST" and form.validate():
            verify_email(link, current_address(runtime), runtime, now)
            return pages.render_page("message.html", title="Address confirmed", sentence=f"{link.email} is yours.")
        return pages.render_page("verify.html", form=form, email=link.email)
    form = NewPasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        try:
            session = set_password_with_link(link, form.password.data, _login_context(runtime), runtime, now)
        except SignInRefused as refusal:
            problem = refusal
        except InvalidRequest as refusal:
            return _expired_link_page(refusal)
        else:
            cookies.begin_session(session)
            if link.sub is not None:
                set_notice("password-set")
            return redirect(link.next or _account_url(), 303)
    context = {"form": form, "email": link.email, "is_new": link.purpose == SIGN_UP}
    return pages.render_page(
        "new_password.html", _form_status(problem, form), problem=problem and problem.message, **context
    )


def change_password_page() -> Response:
    owner, runtime = current_owner(), current_runtime()
    session = cookies.session_secret(runtime)
    if owner is None or session is None:
        return redirect_to_sign_in(url_for("valetkey_passwords.password"))
    form = ChangePasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        old, new = form.current.data, form.password.data
        try:
            change_password(owner.sub, old, new, session, current_address(runtime), runtime, runtime.clock())
        except SignInRefused as refusal:
            problem = refusal
        else:
            sentence = "Your password is changed, and you are signed out everywhere else."
            return pages.render_page(
                "message.html",
                title="Password changed",
                sentence=sentence,
                link_url=_account_url(),
                link_text="Your account",
            )
    return pages.render_page(
        "change_password.html", _form_status(problem, form), form=form, problem=problem and problem.message
    )


def send_verification_action() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    _require_mail_setting()
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(_account_url())
    refusal = _request_link(VERIFY_EMAIL, owner.email)
    if refusal is not None:
        return pages.render_page("message.html", 429, title="Too many mails", sentence=refusal.message)
    return _check_your_mail_page(owner.email)


def sign_out_everywhere_action() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    owner, runtime = current_owner(), current_runtime()
    if owner is not None:
        sign_out_everywhere(owner.sub, current_address(runtime), runtime, runtime.clock())
    cookies.end_session()
    set_notice("signed-out-everywhere")
    return redirect(url_for("valetkey_resource_owner.sign_in"), 303)


def security_context(sub: str) -> dict[str, Any]:
    """Return the template variables of the account page about security.

    ``may_verify``: whether the user can request a mail that verifies the e-mail address. ``sessions``: the active
    sign-in sessions, newest first.
    """
    runtime = current_runtime()
    account, secret = accounts.find(runtime.store, sub), cookies.session_secret(runtime)
    digest = secret.digest() if secret else b""
    sessions = accounts.list_active_sessions(runtime.store, sub, runtime.clock())
    return {
        "may_verify": bool(runtime.settings.mail_url and account and account.email_verified_at is None),
        "sessions": [
            {
                "began": utc_datetime(session.auth_time),
                "address": session.address,
                "is_here": bytes(session.digest) == digest,
            }
            for session in sorted(sessions, key=lambda session: -session.auth_time)
        ],
    }


def _request_link(purpose: str, email: str, **options: str) -> SignInRefused | None:
    """Mail a link to an address; return the error if that is refused (for example: too many mails), else None.

    :param purpose: what the link is for: sign-up, new password or verification of the address.
    """
    runtime = current_runtime()
    try:
        request_mail_link(purpose, email, _login_context(runtime), runtime, runtime.clock(), **options)
    except SignInRefused as refusal:
        return refusal
    return None


def _check_your_mail_page(email: str) -> Response:
    sentence = f"If {email} can be used here, a mail with a link is on its way. Open the link to go on."
    return pages.render_page("message.html", title="Check your mail", sentence=sentence)


def _expired_link_page(refusal: InvalidRequest) -> Response:
    log_refusal(refusal, request_id(), current_route())
    link = {"link_url": url_for("valetkey_resource_owner.sign_in"), "link_text": "Sign in"}
    return pages.render_page("message.html", 400, title="This link is over", sentence=refusal.description, **link)


def _form_status(problem: SignInRefused | None, form: Any) -> int:
    """Return the HTTP status of a page with a form.

    429 if there were too many attempts, 400 if the input was refused or a field is invalid, else 200.

    :param problem: why the submitted form was refused; None if it was not.
    """
    if problem is not None:
        return 429 if problem.retry_after else 400
    return 400 if form.errors else 200


def _require_mail_setting() -> None:
    """Abort the request with status 404 if no mail server is configured (setting ``mail_url``)."""
    if current_runtime().settings.mail_url is None:
        abort(404)


def _login_context(runtime: Runtime) -> LoginContext:
    return LoginContext(cookies.browser_secret(runtime), current_address(runtime), cookies.session_secret(runtime))


def _account_url() -> str:
    return url_for("valetkey_resource_owner.account") if current_runtime().settings.account_path else "/"
