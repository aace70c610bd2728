"""What views read of the current request for a sign-in or a mailed link, and the settings that these pages need."""

from __future__ import annotations

from flask import abort, request

from valetkey.accounts.login_context import LoginContext
from valetkey.settings import Settings
from valetkey.web import cookies
from valetkey.web.context import current_address, current_runtime
from valetkey.web.csrf import is_submission_id


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
