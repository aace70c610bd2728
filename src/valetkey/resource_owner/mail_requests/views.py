"""Views that mail a link: to sign up, to set a password, or to confirm an address; and the pages that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import abort, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.login_context import LoginContext
from valetkey.accounts.mail_links import RESET_PASSWORD, SIGN_UP, VERIFY_EMAIL, request_mail_link
from valetkey.protocol.refusal import retry_after_header
from valetkey.protocol.resource_owner import Owner
from valetkey.resource_owner import texts
from valetkey.resource_owner.forms import ForgottenPasswordForm, MailSignUpForm, PasswordLinkForm
from valetkey.settings import Settings
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import check_button_form, is_submission_id
from valetkey.web.local_path import safe_local_path
from valetkey.web.resource_owners import current_owner, redirect_to_sign_in


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
            return _check_your_mail_page(texts.CHECK_MAIL_SIGN_UP, form.email.data, _link_to_sign_in(next_path))
    return pages.render_form("sign_up_by_mail.html", form, problem, **providers_context)


def forgotten_password_page() -> Response:
    """Show the form of a user who has forgotten the password or, if it was submitted, mail a link to set a new one."""
    require_passwords()
    require_mail()
    form = ForgottenPasswordForm(request.form if request.method == "POST" else request.args)
    next_path = safe_local_path(form.next.data) if form.next.data else ""
    back = _link_to_sign_in(next_path)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _request_link(RESET_PASSWORD, form.email.data, next_path=next_path)
        if problem is None:
            return _check_your_mail_page(texts.CHECK_MAIL_RESET, form.email.data, back)
    return pages.render_form("forgotten.html", form, problem, sign_in_url=back["link_url"])


def first_password_page(owner: Owner) -> Response:
    """Say that an account has no password yet; if the form of the page was submitted, mail a link to set one."""
    if not may_mail_password_link(owner.email):
        context = {"title": texts.NO_PASSWORD_TITLE, "sentence": texts.NO_PASSWORD, **_link_to_account()}
        return pages.render_page("message.html", 200, **context)
    form = PasswordLinkForm(request.form)
    if request.method == "POST" and form.validate():
        return _mail_to_own_address(RESET_PASSWORD, owner)
    return pages.render_form("first_password.html", form, None, email=owner.email)


def send_verification_action() -> Response:
    """Mail a link to the signed-in user that confirms the address of the account."""
    require_mail()
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(safe_local_path())
    check_button_form()
    if not owner.email:
        return _no_mail_page(SignInRefused(texts.NO_ADDRESS))
    return _mail_to_own_address(VERIFY_EMAIL, owner)


def may_mail_password_link(email: str | None) -> bool:
    """Return whether an account with this address can get a link by mail with which a password is set."""
    settings = current_runtime().settings
    return bool(settings.password_sign_in and settings.mail_url and email)


def _mail_to_own_address(purpose: str, owner: Owner) -> Response:
    """Mail a link to the signed-in user, and return the page that says so or, after too many mails, why not."""
    refusal = _request_link(purpose, owner.email, signed_in_as=owner.sub)
    if refusal is not None:
        return _no_mail_page(refusal)
    return _check_your_mail_page(texts.CHECK_OWN_MAIL, owner.email, _link_to_account())


def _request_link(
    purpose: str, email: str, *, name: str = "", next_path: str = "", signed_in_as: str | None = None
) -> SignInRefused | None:
    """Mail a link to an address; return the error if that is refused (for example: too many mails), else None.

    The parameters are those of ``request_mail_link``.
    """
    runtime = current_runtime()
    try:
        request_mail_link(
            purpose,
            email,
            current_login_context(runtime.settings),
            runtime,
            runtime.clock(),
            name=name,
            next_path=next_path,
            signed_in_as=signed_in_as,
        )
    except SignInRefused as refusal:
        return refusal
    return None


def _check_your_mail_page(text: str, email: str, link: Mapping[str, str]) -> Response:
    """Return the page after a link was requested.

    :param text: the sentence; the address is replaced.
    :param link: URL and text of the link back.
    """
    minutes = current_runtime().settings.mail_link_lifetime // 60
    sentence, hint = text.format(email=email), texts.CHECK_MAIL_HINT.format(minutes=minutes)
    context = {"title": texts.CHECK_MAIL_TITLE, "sentence": sentence, "hint": hint, **link}
    return pages.render_page("message.html", 200, **context)


def _no_mail_page(refusal: SignInRefused) -> Response:
    """Return the page that says why no mail was sent: with 429 and ``Retry-After`` after too many, else with 400."""
    is_limit = bool(refusal.retry_after)
    title = texts.TOO_MANY_MAILS_TITLE if is_limit else texts.NO_MAIL_TITLE
    status = 429 if is_limit else 400
    page = pages.render_page("message.html", status, title=title, sentence=refusal.message, **_link_to_account())
    page.headers.extend(retry_after_header(refusal.retry_after))
    return page


def _link_to_sign_in(next_path: str) -> dict[str, str]:
    url = url_for("valetkey_resource_owner.sign_in", next=next_path or None)
    return {"link_url": url, "link_text": texts.BACK_TO_SIGN_IN}


def _link_to_account() -> dict[str, str]:
    return {"link_url": safe_local_path(), "link_text": texts.BACK_TO_ACCOUNT}


def require_mail() -> None:
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
