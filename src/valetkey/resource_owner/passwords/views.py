"""The views for passwords, mailed links and sign-ins: HTTP in, HTTP out, nothing decided here."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.accounts.mail_links import RESET, SIGN_UP, VERIFY, ask_for_link, choose_password, find_link, verify
from valetkey.accounts.security import change_password, sign_out_everywhere
from valetkey.accounts.sign_in import SignInRefused, Visitor
from valetkey.activity.refusals import log_refusal
from valetkey.protocol.errors import InvalidRequest
from valetkey.resource_owner.consent_context import date_of
from valetkey.resource_owner.forms import ChangePasswordForm, ForgottenForm, MailSignUpForm, NewPasswordForm, PressForm
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_route, current_runtime
from valetkey.web.cookies import leave_notice
from valetkey.web.csrf import check_csrf
from valetkey.web.request_id import reference
from valetkey.web.resource_owners import current_owner, to_sign_in


def make_blueprint() -> Blueprint:
    """The pages below the account's path, for accounts of ours; the templates are the resource owner's."""
    blueprint = Blueprint("valetkey_passwords", __name__)
    pages.add_page(blueprint, "/forgotten", GET=("forgotten", forgotten), POST=("forgotten", forgotten))
    pages.add_page(blueprint, "/mail/<secret>", GET=("mailed", mailed), POST=("mailed", mailed))
    pages.add_page(blueprint, "/password", GET=("password", password), POST=("password", password))
    pages.add_page(blueprint, "/verify", POST=("verify", send_verification))
    pages.add_page(blueprint, "/sign-out-everywhere", POST=("everywhere", everywhere))
    blueprint.before_request(pages.check_form)
    pages.set_up(blueprint)
    return blueprint


def sign_up_by_mail(next_path: str) -> Response:
    """The form of whoever is new; the password is chosen behind the link that is mailed."""
    form = MailSignUpForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _ask(SIGN_UP, form.email.data, name=form.name.data, next_path=next_path)
        if problem is None:
            return _look_into_your_mail(form.email.data)
    status = _status(problem, form)
    return pages.page("sign_up_by_mail.html", status, form=form, problem=problem and problem.sentence)


def forgotten() -> Response:
    _check_mail()
    form = ForgottenForm(request.form if request.method == "POST" else request.args)
    problem = None
    if request.method == "POST" and form.validate():
        problem = _ask(RESET, form.email.data)
        if problem is None:
            return _look_into_your_mail(form.email.data)
    return pages.page("forgotten.html", _status(problem, form), form=form, problem=problem and problem.sentence)


def mailed(secret: str) -> Response:
    """Behind a mailed link. Opening it changes nothing: programs that look into mail open links, too."""
    runtime = current_runtime()
    now = runtime.clock()
    try:
        link = find_link(secret, runtime, now)
    except InvalidRequest as refusal:
        return _over(refusal)
    if link.purpose == VERIFY:
        form = PressForm(request.form)
        if request.method == "POST" and form.validate():
            verify(link, current_address(runtime), runtime, now)
            return pages.page("message.html", title="Address confirmed", sentence=f"{link.email} is yours.")
        return pages.page("verify.html", form=form, email=link.email)
    form = NewPasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        try:
            session = choose_password(link, form.password.data, _visitor(runtime), runtime, now)
        except SignInRefused as refused:
            problem = refused
        except InvalidRequest as refusal:
            return _over(refusal)
        else:
            cookies.begin_session(session)
            if link.sub is not None:
                leave_notice("password-set")
            return redirect(link.next or _account_url(), 303)
    shown = {"form": form, "email": link.email, "is_new": link.purpose == SIGN_UP}
    return pages.page("new_password.html", _status(problem, form), problem=problem and problem.sentence, **shown)


def password() -> Response:
    owner, runtime = current_owner(), current_runtime()
    session = cookies.session(runtime)
    if owner is None or session is None:
        return to_sign_in(url_for("valetkey_passwords.password"))
    form = ChangePasswordForm(request.form)
    problem = None
    if request.method == "POST" and form.validate():
        old, new = form.current.data, form.password.data
        try:
            change_password(owner.sub, old, new, session, current_address(runtime), runtime, runtime.clock())
        except SignInRefused as refused:
            problem = refused
        else:
            told = "Your password is changed, and you are signed out everywhere else."
            return pages.page(
                "message.html",
                title="Password changed",
                sentence=told,
                link_url=_account_url(),
                link_text="Your account",
            )
    return pages.page("change_password.html", _status(problem, form), form=form, problem=problem and problem.sentence)


def send_verification() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    _check_mail()
    owner = current_owner()
    if owner is None:
        return to_sign_in(_account_url())
    refused = _ask(VERIFY, owner.email)
    if refused is not None:
        return pages.page("message.html", 429, title="Too many mails", sentence=refused.sentence)
    return _look_into_your_mail(owner.email)


def everywhere() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    owner, runtime = current_owner(), current_runtime()
    if owner is not None:
        sign_out_everywhere(owner.sub, current_address(runtime), runtime, runtime.clock())
    cookies.end_session()
    leave_notice("signed-out-everywhere")
    return redirect(url_for("valetkey_resource_owner.sign_in"), 303)


def security_context(sub: str) -> dict[str, Any]:
    """What the account page shows of password, address and sign-ins."""
    runtime = current_runtime()
    account, session = accounts.find(runtime.store, sub), cookies.session(runtime)
    here = session.digest() if session else b""
    found = accounts.live_sessions(runtime.store, sub, runtime.clock())
    return {
        "may_verify": bool(runtime.settings.mail_url and account and account.email_verified_at is None),
        "sessions": [
            {"began": date_of(one.auth_time), "address": one.address, "is_here": bytes(one.digest) == here}
            for one in sorted(found, key=lambda one: -one.auth_time)
        ],
    }


def _ask(purpose: str, email: str, **more: str) -> SignInRefused | None:
    runtime = current_runtime()
    try:
        ask_for_link(purpose, email, _visitor(runtime), runtime, runtime.clock(), **more)
    except SignInRefused as refused:
        return refused
    return None


def _look_into_your_mail(email: str) -> Response:
    sentence = f"If {email} can be used here, a mail with a link is on its way. Open the link to go on."
    return pages.page("message.html", title="Check your mail", sentence=sentence)


def _over(refusal: InvalidRequest) -> Response:
    log_refusal(refusal, reference(), current_route())
    to_sign_in = {"link_url": url_for("valetkey_resource_owner.sign_in"), "link_text": "Sign in"}
    return pages.page("message.html", 400, title="This link is over", sentence=refusal.description, **to_sign_in)


def _status(problem: SignInRefused | None, form: Any) -> int:
    if problem is not None:
        return 429 if problem.retry_after else 400
    return 400 if form.errors else 200


def _check_mail() -> None:
    if current_runtime().settings.mail_url is None:
        abort(404)


def _visitor(runtime: Runtime) -> Visitor:
    return Visitor(cookies.browser(runtime), current_address(runtime), cookies.session(runtime))


def _account_url() -> str:
    return url_for("valetkey_resource_owner.account") if current_runtime().settings.account_path else "/"
