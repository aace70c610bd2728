"""Views of the page that a mailed link opens: choose a password, or confirm an address."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.mail_links import (
    RESET_PASSWORD,
    SIGN_UP,
    VERIFY_EMAIL,
    LinkExpired,
    get_link,
    is_confirmed,
    set_password_with_link,
    verify_email,
)
from valetkey.activity.refusal_log import log_refusal
from valetkey.protocol.errors import InvalidRequest
from valetkey.resource_owner import texts
from valetkey.resource_owner.forms import FirstPasswordForm, NewPasswordForm
from valetkey.resource_owner.mail_requests.views import current_login_context, require_passwords
from valetkey.storage.mail_links import MailLink
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import ButtonForm
from valetkey.web.local_path import safe_local_path
from valetkey.web.request_log import current_request_info
from valetkey.web.resource_owners import current_full_path, current_owner, redirect_to_sign_in


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
    except LinkExpired as refusal:
        return _expired_link_page(refusal, refusal.link)
    if link.purpose == VERIFY_EMAIL:
        return _verify_email_page(link, now)
    require_passwords()
    is_new = link.purpose == SIGN_UP
    form = FirstPasswordForm(request.form) if is_new else NewPasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        try:
            session = set_password_with_link(
                link, form.password.data, current_login_context(runtime.settings), runtime, now
            )
        except SignInRefused as refusal:
            problem = refusal
        except InvalidRequest as refusal:
            return _expired_link_page(refusal, link)
        else:
            cookies.begin_session(session)
            if link.sub is None:
                set_notice("account-created")
                return redirect(link.next or safe_local_path(), 303)
            set_notice("password-set")
            return redirect(url_for("valetkey_passwords.access", next=link.next or None), 303)
    return pages.render_form("new_password.html", form, problem, email=link.email, is_new=is_new)


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
        url = url_for("valetkey_resource_owner.sign_in", next=current_full_path())
        context = {"title": title, "sentence": sentence, "link_url": url, "link_text": texts.USE_OTHER_ACCOUNT}
        return pages.render_page("message.html", 400, **context)
    form = ButtonForm(request.form)
    if request.method == "POST" and form.validate():
        try:
            verify_email(link, current_address(runtime.settings.trusted_proxies), runtime.store, now)
        except InvalidRequest as refusal:
            return _expired_link_page(refusal, link)
        return _confirmed_page(link.email)
    return pages.render_page("verify.html", form=form, email=link.email)


def _confirmed_page(email: str) -> Response:
    return pages.render_page(
        "message.html",
        title=texts.ADDRESS_CONFIRMED_TITLE,
        sentence=texts.ADDRESS_CONFIRMED.format(email=email),
        link_url=safe_local_path(),
        link_text=texts.BACK_TO_ACCOUNT,
    )


def _expired_link_page(refusal: InvalidRequest, link: MailLink | None) -> Response:
    """Return the page of a link that cannot be used any more: what to do instead.

    If the link has confirmed the address of the signed-in user before, the page says that instead.

    :param link: ``None`` if the link is unknown.
    """
    owner = current_owner()
    is_own_address = owner is not None and link is not None and owner.sub == link.sub and link.purpose == VERIFY_EMAIL
    if link is not None and is_own_address and is_confirmed(link, current_runtime().store):
        return _confirmed_page(link.email)
    log_refusal(refusal, current_request_info())
    sentence, url, text = _next_step(link, is_signed_in=owner is not None)
    if not isinstance(refusal, LinkExpired):
        sentence = refusal.description
    context = {"title": texts.LINK_EXPIRED_TITLE, "sentence": sentence, "link_url": url, "link_text": text}
    return pages.render_page("message.html", 400, **context)


def _next_step(link: MailLink | None, *, is_signed_in: bool) -> tuple[str, str, str]:
    """Return what a user can do whose link has expired or was used: a sentence, and address and text of a link."""
    purpose, next_path = (link.purpose, link.next or None) if link else (None, None)
    if is_signed_in:
        sentence = texts.NEW_CONFIRMATION if purpose == VERIFY_EMAIL else texts.SIGNED_IN_ALREADY
        return sentence, safe_local_path(), texts.BACK_TO_ACCOUNT
    if purpose == RESET_PASSWORD:
        return texts.NEW_RESET, url_for("valetkey_passwords.forgotten", next=next_path), texts.NEW_LINK
    sentences = {SIGN_UP: texts.SIGN_IN_OR_UP, VERIFY_EMAIL: texts.SIGN_IN_FOR_CONFIRMATION}
    sentence = sentences.get(purpose or "", texts.SIGN_IN_FOR_LINK)
    return sentence, url_for("valetkey_resource_owner.sign_in", next=next_path), texts.SIGN_IN_LINK
