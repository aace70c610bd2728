"""Views for passwords, mailed links and sign-in sessions.

They read requests and render pages; the rules are in the package ``accounts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.login_context import LoginContext
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
from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.refusal import retry_after_header
from valetkey.protocol.secret import random_id
from valetkey.resource_owner import texts
from valetkey.resource_owner.access.views import access_action, access_page, load_current_review
from valetkey.resource_owner.consent_context import utc_datetime
from valetkey.resource_owner.forms import (
    ChangePasswordForm,
    ForgottenPasswordForm,
    MailSignUpForm,
    NewPasswordForm,
)
from valetkey.settings import Settings
from valetkey.storage import accounts, sessions
from valetkey.storage.mail_links import MailLink
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import ButtonForm, check_button_form, is_submission_id
from valetkey.web.local_path import safe_local_path
from valetkey.web.request_log import current_request_info
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


def sign_up_by_mail_page(next_path: str, providers_context: Mapping[str, Any]) -> Response:
    """Show the sign-up form or, if it was submitted, mail a link to the page on which the user chooses a password.

    :param next_path: local path to continue at after the sign-up.
    :param providers_context: the template variables of the buttons for providers.
    """
    form = MailSignUpForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _request_link(SIGN_UP, form.email.data, name=form.name.data, next_path=next_path)
        if problem is None:
            return _check_your_mail_page(form.email.data)
    return pages.render_form("sign_up_by_mail.html", form, problem, **providers_context)


def forgotten_password_page() -> Response:
    require_passwords()
    _require_mail_setting()
    form = ForgottenPasswordForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _request_link(RESET_PASSWORD, form.email.data)
        if problem is None:
            return _check_your_mail_page(form.email.data)
    return pages.render_form("forgotten.html", form, problem)


def mail_link_page(secret: str) -> Response:
    """Show and handle the page of a mailed link: confirm an e-mail address, or choose a password.

    The password is for a new or an existing account, as the link says. GET changes nothing, because programs that scan
    mail open links, too.

    :param secret: the secret at the end of the link.
    """
    runtime = current_runtime()
    now = runtime.clock()
    try:
        link = get_link(secret, runtime.store, now, may_be_used=request.method == "POST")
    except InvalidRequest as refusal:
        return _expired_link_page(refusal)
    if link.purpose != VERIFY_EMAIL:
        require_passwords()
    if link.purpose == VERIFY_EMAIL:
        return _verify_email_page(link, now)
    form = NewPasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        try:
            session = set_password_with_link(
                link, form.password.data, current_login_context(runtime.settings), runtime, now
            )
        except SignInRefused as refusal:
            problem = refusal
        except InvalidRequest as refusal:
            return _expired_link_page(refusal)
        else:
            cookies.begin_session(session)
            if link.sub is None:
                return redirect(link.next or safe_local_path(), 303)
            set_notice("password-set")
            return redirect(url_for("valetkey_passwords.access", next=link.next or None), 303)
    return pages.render_form("new_password.html", form, problem, email=link.email, is_new=link.purpose == SIGN_UP)


def _verify_email_page(link: MailLink, now: float) -> Response:
    """Show and handle the page that confirms an address, in a browser that is signed in to the account.

    Otherwise an attacker could create an account with another person's address, and that person could confirm it by
    clicking the link.
    """
    runtime, owner = current_runtime(), current_owner()
    if owner is None:
        return redirect_to_sign_in()
    if owner.sub != link.sub:
        title, sentence = texts.OTHER_ACCOUNT_TITLE, texts.OTHER_ACCOUNT.format(email=link.email)
        return pages.render_page("message.html", 400, title=title, sentence=sentence)
    form = ButtonForm(request.form)
    if request.method == "POST" and form.validate():
        try:
            verify_email(link, current_address(runtime.settings.trusted_proxies), runtime.store, now)
        except InvalidRequest as refusal:
            return _expired_link_page(refusal)
        return pages.render_page(
            "message.html",
            title=texts.ADDRESS_CONFIRMED_TITLE,
            sentence=texts.ADDRESS_CONFIRMED.format(email=link.email),
        )
    return pages.render_page("verify.html", form=form, email=link.email)


def change_password_page() -> Response:
    require_passwords()
    owner, runtime = current_owner(), current_runtime()
    session = cookies.session_secret(runtime.settings)
    if owner is None or session is None:
        return redirect_to_sign_in(url_for("valetkey_passwords.password"))
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
    return pages.render_form("change_password.html", form, problem)


def send_verification_action() -> Response:
    _require_mail_setting()
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(safe_local_path())
    check_button_form()
    refusal = _request_link(VERIFY_EMAIL, owner.email) if owner.email else SignInRefused(texts.NO_ADDRESS)
    return _check_your_mail_page(owner.email) if refusal is None else _no_mail_page(refusal)


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

    ``has_password``: whether the user can sign in with a password. ``reset_is_unreviewed``: whether the password was
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


def _request_link(purpose: str, email: str, **options: str) -> SignInRefused | None:
    """Mail a link to an address; return the error if that is refused (for example: too many mails), else None.

    :param purpose: what the link is for: sign-up, new password or verification of the address.
    """
    runtime = current_runtime()
    try:
        request_mail_link(purpose, email, current_login_context(runtime.settings), runtime, runtime.clock(), **options)
    except SignInRefused as refusal:
        return refusal
    return None


def _check_your_mail_page(email: str) -> Response:
    sentence = texts.CHECK_MAIL.format(email=email)
    return pages.render_page("message.html", title=texts.CHECK_MAIL_TITLE, sentence=sentence)


def _no_mail_page(refusal: SignInRefused) -> Response:
    """Return the page that says why no mail was sent: with 429 and ``Retry-After`` after too many, else with 400."""
    is_limit = bool(refusal.retry_after)
    title = texts.TOO_MANY_MAILS_TITLE if is_limit else texts.NO_MAIL_TITLE
    page = pages.render_page("message.html", 429 if is_limit else 400, title=title, sentence=refusal.message)
    page.headers.extend(retry_after_header(refusal.retry_after))
    return page


def _expired_link_page(refusal: InvalidRequest) -> Response:
    log_refusal(refusal, current_request_info())
    link = {"link_url": url_for("valetkey_resource_owner.sign_in"), "link_text": texts.SIGN_IN_LINK}
    return pages.render_page("message.html", 400, title=texts.LINK_EXPIRED_TITLE, sentence=refusal.description, **link)


def _require_mail_setting() -> None:
    """Abort the request with status 404 if no mail server is configured (setting ``mail_url``)."""
    if current_runtime().settings.mail_url is None:
        abort(404)


def require_passwords() -> None:
    """Abort the request with status 404 if users sign in with providers only (setting ``password_sign_in``)."""
    if not current_runtime().settings.password_sign_in:
        abort(404)


def current_login_context(settings: Settings) -> LoginContext:
    """Return where the current request comes from, with the id of the submitted form, if it has one."""
    submission = request.form.get("submission", "")
    return LoginContext(
        cookies.browser_secret(settings),
        current_address(settings.trusted_proxies),
        cookies.session_secret(settings),
        request.headers.get("User-Agent", ""),
        submission if is_submission_id(submission) else None,
    )
