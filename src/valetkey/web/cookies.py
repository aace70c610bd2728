"""Valetkey's cookies: the browser ID, the sign-in session, and a notice for the next page.

Authorization requests and forms are bound to the browser ID: another browser cannot continue or submit them.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request
from werkzeug.http import parse_cookie

from valetkey.protocol.secret import BROWSER, SESSION, Secret, generate_secret, is_well_formed
from valetkey.runtime import Runtime

from .context import request_state
from .wsgi import Environ

NOTICE_COOKIE = "valetkey_notice"
_COOKIES_KEY = "valetkey.cookies"  # in the WSGI environment: the parsed Cookie header
_YEAR_S = 365 * 86400
_MINUTE_S = 60


def cookie_name(runtime: Runtime, name: str) -> str:
    """Return the name under which a cookie is sent: with the prefix ``__Host-`` if the issuer URL is https."""
    # __Host-: only this host can set the cookie, and only over https (RFC 6265bis §4.1.3.2).
    return f"__Host-{name}" if runtime.settings.issuer.startswith("https:") else name


def browser_secret(runtime: Runtime) -> Secret:
    """Return the secret in the browser ID cookie, which identifies this browser.

    If there is no valid cookie, generate a secret, and send it as the cookie with the response.
    """
    state = request_state()
    secret: Secret | None = state.get("browser")
    if secret is None:
        value = read_cookie(request.environ, cookie_name(runtime, "valetkey_browser"))
        secret = state["browser"] = Secret(value) if is_well_formed(value, BROWSER) else generate_secret(BROWSER)
        state["browser_is_new"] = secret.reveal() != value
    return secret


def session_secret(runtime: Runtime) -> Secret | None:
    """Return the session secret in the sign-in cookie, or None if there is none. The session may have ended."""
    return session_secret_of(request.environ, runtime)


def session_secret_of(environ: Environ, runtime: Runtime) -> Secret | None:
    """Return the session secret in the sign-in cookie of a WSGI environment, or None if there is none.

    The session may have ended.
    """
    value = read_cookie(environ, cookie_name(runtime, "valetkey_session"))
    return Secret(value) if is_well_formed(value, SESSION) else None


def read_cookie(environ: Environ, name: str) -> str:
    """Return the value of a cookie; an empty string if there is none, or if the ``Cookie`` header cannot be decoded.

    Another app on this host may have set a cookie that cannot be decoded.
    """
    values = environ.get(_COOKIES_KEY)
    if values is None:
        try:
            values = parse_cookie(environ.get("HTTP_COOKIE"))
        except UnicodeError:
            values = {}
        environ[_COOKIES_KEY] = values
    return str(values.get(name, ""))


def begin_session(secret: Secret) -> None:
    """Set the sign-in cookie with the response to this request.

    :param secret: the secret of the new sign-in session.
    """
    request_state()["valetkey_session"] = secret.reveal()


def end_session() -> None:
    """Delete the sign-in cookie with the response; during this request, ``current_owner`` returns None from now on."""
    request_state().update(valetkey_session="", owner=None)


def send_cookies(response: Response, runtime: Runtime) -> Response:
    """Add the cookies to the response that were set or deleted during this request, and return it."""
    state = request_state()
    if state.get("browser_is_new"):
        _set_cookie(response, runtime, "valetkey_browser", state["browser"].reveal(), _YEAR_S)
    for name, lifetime_s in (("valetkey_session", runtime.settings.session_lifetime), (NOTICE_COOKIE, _MINUTE_S)):
        value = state.get(name)
        if value is not None:
            _set_cookie(response, runtime, name, value, lifetime_s if value else 0)
    return response


def _set_cookie(response: Response, runtime: Runtime, name: str, value: str, max_age_s: int) -> None:
    secure = runtime.settings.issuer.startswith("https:")
    full_name = cookie_name(runtime, name)
    response.set_cookie(full_name, value, max_age=max_age_s, secure=secure, httponly=True, samesite="Lax")


_NOTICES: Mapping[str, str] = {
    "app-revoked": "The app cannot use your account any more.",
    "token-revoked": "The token is revoked.",
    "password-set": "Your new password is set. You are signed in here, and nowhere else.",
    "signed-out": "You are signed out.",
    "signed-out-everywhere": "You are signed out everywhere.",
}


def set_notice(name: str) -> None:
    """Show a notice, such as "You are signed out.", on the next page that this browser loads.

    :param name: name of the notice: a key of ``_NOTICES``, such as ``signed-out``.
    """
    request_state()[NOTICE_COOKIE] = name


def pop_notice(runtime: Runtime) -> str | None:
    """Return the text of the notice that a previous request set with ``set_notice``, or None if there is none.

    The notice's cookie is deleted with the response.
    """
    name = read_cookie(request.environ, cookie_name(runtime, NOTICE_COOKIE))
    if name:
        request_state()[NOTICE_COOKIE] = ""
    return _NOTICES.get(name)
