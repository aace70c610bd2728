"""Cookies of our own: the browser's, which binds requests and forms to it, the sign-in's, and one for a notice."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, request
from werkzeug.http import parse_cookie

from valetkey.protocol.secret import BROWSER, SESSION, Secret, generate_secret, is_well_formed
from valetkey.runtime import Runtime

from .context import request_state
from .wsgi import Environ

NOTICE_COOKIE = "valetkey_notice"
_COOKIES_KEY = "valetkey.cookies"  # in the WSGI environment: all of them, read once
_YEAR_S = 365 * 86400
_MINUTE_S = 60


def cookie_name(runtime: Runtime, name: str) -> str:
    """The name under which it is sent."""
    # __Host-: only this host can set it, only over https (RFC 6265bis §4.1.3.2).
    return f"__Host-{name}" if runtime.settings.issuer.startswith("https:") else name


def browser_secret(runtime: Runtime) -> Secret:
    """What this browser is known by; a new one gets its cookie with the answer."""
    kept = request_state()
    known: Secret | None = kept.get("browser")
    if known is None:
        sent = read_cookie(request.environ, cookie_name(runtime, "valetkey_browser"))
        known = kept["browser"] = Secret(sent) if is_well_formed(sent, BROWSER) else generate_secret(BROWSER)
        kept["browser_is_new"] = known.reveal() != sent
    return known


def session_secret(runtime: Runtime) -> Secret | None:
    """The sign-in that the browser claims to have."""
    return session_secret_of(request.environ, runtime)


def session_secret_of(environ: Environ, runtime: Runtime) -> Secret | None:
    """The same of a WSGI environment."""
    sent = read_cookie(environ, cookie_name(runtime, "valetkey_session"))
    return Secret(sent) if is_well_formed(sent, SESSION) else None


def read_cookie(environ: Environ, name: str) -> str:
    """The value of a cookie; empty where there is none, or somebody else's on this host is no text."""
    sent = environ.get(_COOKIES_KEY)
    if sent is None:
        try:
            sent = parse_cookie(environ.get("HTTP_COOKIE"))
        except UnicodeError:
            sent = {}
        environ[_COOKIES_KEY] = sent
    return str(sent.get(name, ""))


def begin_session(secret: Secret) -> None:
    """Send this sign-in's cookie with the answer."""
    request_state()["valetkey_session"] = secret.reveal()


def end_session() -> None:
    """Take the sign-in's cookie away with the answer."""
    request_state().update(valetkey_session="", owner=None)


def send_cookies(response: Response, runtime: Runtime) -> Response:
    """Put on the response what the view decided about cookies."""
    kept = request_state()
    if kept.get("browser_is_new"):
        _set_cookie(response, runtime, "valetkey_browser", kept["browser"].reveal(), _YEAR_S)
    for name, lives in (("valetkey_session", runtime.settings.session_lifetime), (NOTICE_COOKIE, _MINUTE_S)):
        value = kept.get(name)
        if value is not None:
            _set_cookie(response, runtime, name, value, lives if value else 0)
    return response


def _set_cookie(response: Response, runtime: Runtime, name: str, value: str, max_age_s: int) -> None:
    secure = runtime.settings.issuer.startswith("https:")
    named = cookie_name(runtime, name)
    response.set_cookie(named, value, max_age=max_age_s, secure=secure, httponly=True, samesite="Lax")


_NOTICES: Mapping[str, str] = {
    "app-revoked": "The app cannot use your account any more.",
    "token-revoked": "The token is revoked.",
    "password-set": "Your new password is set. You are signed in here, and nowhere else.",
    "signed-out": "You are signed out.",
    "signed-out-everywhere": "You are signed out everywhere.",
}


def set_notice(name: str) -> None:
    """Say it on the next page that this browser is shown."""
    request_state()[NOTICE_COOKIE] = name


def pop_notice(runtime: Runtime) -> str | None:
    """What the page before left to be said; it is said once."""
    left = read_cookie(request.environ, cookie_name(runtime, NOTICE_COOKIE))
    if left:
        request_state()[NOTICE_COOKIE] = ""
    return _NOTICES.get(left)
