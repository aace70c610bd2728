"""Valetkey's cookies: the browser ID, the sign-in session, and a notice for the next page.

Authorization requests and forms are bound to the browser ID: another browser cannot continue or submit them.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import urlsplit

from flask import request
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Response

from valetkey.protocol.secret import BROWSER, SESSION, Secret, generate_secret, is_well_formed
from valetkey.settings import Settings
from valetkey.settings.derived import DEFAULT_ISSUER

from .context import request_state
from .texts import NOTICES
from .wsgi import Environ

NOTICE_COOKIE = "valetkey_notice"
COOKIE_NAMES = ("valetkey_browser", "valetkey_session", NOTICE_COOKIE)
_COOKIES_KEY = "valetkey.cookies"  # in the WSGI environment: the parsed Cookie header
_YEAR_S = 365 * 86400
_MINUTE_S = 60


def cookie_name(settings: Settings, name: str) -> str:
    """Return the name under which a cookie is sent: with the prefix ``__Host-`` if the issuer URL is https.

    If the issuer has a path or a port, the name ends with a hash of them: browsers send cookies to all ports of a host,
    so that several servers on one host name would overwrite each other's cookies.
    """
    issuer = settings.issuer
    # __Host-: only this host can set the cookie, and only over https (RFC 6265bis §4.1.3.2).
    prefix = "__Host-" if issuer.startswith("https:") else ""
    return f"{prefix}{name}{_name_suffix(issuer)}"


@lru_cache
def _name_suffix(issuer: str) -> str:
    """Return the end of cookie names: empty for the default issuer, and for one without port and path."""
    parts = urlsplit(issuer)
    if issuer == DEFAULT_ISSUER or not (parts.port or parts.path):
        return ""
    return "_" + hashlib.sha256(f"{parts.port}{parts.path}".encode()).hexdigest()[:8]


def browser_secret(settings: Settings) -> Secret:
    """Return the secret in the browser ID cookie, which identifies this browser.

    If there is no valid cookie, generate a secret, and send it as the cookie with the response.
    """
    state = request_state()
    secret: Secret | None = state.get("browser")
    if secret is None:
        value = read_cookie(request.environ, cookie_name(settings, "valetkey_browser"))
        secret = state["browser"] = Secret(value) if is_well_formed(value, BROWSER) else generate_secret(BROWSER)
        state["browser_is_new"] = secret.reveal() != value
    return secret


def session_secret(settings: Settings) -> Secret | None:
    """Return the session secret in the sign-in cookie, or None if there is none. The session may have ended."""
    return session_secret_of(request.environ, settings)


def session_secret_of(environ: Environ, settings: Settings) -> Secret | None:
    """Return the session secret in the sign-in cookie of a WSGI environment, or None if there is none.

    The session may have ended.
    """
    value = read_cookie(environ, cookie_name(settings, "valetkey_session"))
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


def send_cookies(response: Response, settings: Settings) -> Response:
    """Add the cookies to the response that were set or deleted during this request, and return it."""
    state = request_state()
    if state.get("browser_is_new"):
        _set_cookie(response, settings, "valetkey_browser", state["browser"].reveal(), _YEAR_S)
    for name, lifetime_s in (("valetkey_session", settings.session_lifetime), (NOTICE_COOKIE, _MINUTE_S)):
        value = state.get(name)
        if value is not None:
            _set_cookie(response, settings, name, value, lifetime_s if value else 0)
    return response


def _set_cookie(response: Response, settings: Settings, name: str, value: str, max_age_s: int) -> None:
    secure = settings.issuer.startswith("https:")
    full_name = cookie_name(settings, name)
    response.set_cookie(full_name, value, max_age=max_age_s, secure=secure, httponly=True, samesite="Lax")


def set_notice(name: str) -> None:
    """Show a notice, such as "You are signed out.", on the next page that this browser loads.

    :param name: name of the notice: a key of ``texts.NOTICES``, such as ``signed-out``.
    """
    request_state()[NOTICE_COOKIE] = name


def pop_notice(settings: Settings) -> str | None:
    """Return the text of the notice that a previous request set with ``set_notice``, or None if there is none.

    The notice's cookie is deleted with the response.
    """
    name = read_cookie(request.environ, cookie_name(settings, NOTICE_COOKIE))
    if name:
        request_state()[NOTICE_COOKIE] = ""
    return NOTICES.get(name)
