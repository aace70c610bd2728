"""One sentence on the next page, after something was done. It is named in a cookie, so that no link can say it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request

from valetkey.runtime import Runtime

from .cookies import NOTICE, cookie_name, sent_in
from .state import kept_for_request

_SENTENCES: Mapping[str, str] = {
    "app-revoked": "The app cannot use your account any more.",
    "token-revoked": "The token is revoked.",
    "password-set": "Your new password is set. You are signed in here, and nowhere else.",
    "signed-out": "You are signed out.",
    "signed-out-everywhere": "You are signed out everywhere.",
}


def leave_notice(name: str) -> None:
    """Say it on the next page that this browser is shown."""
    kept_for_request()[NOTICE] = name


def take_notice(runtime: Runtime) -> str | None:
    """What the page before left to be said; it is said once."""
    left = sent_in(request.environ, cookie_name(runtime, NOTICE))
    if left:
        kept_for_request()[NOTICE] = ""
    return _SENTENCES.get(left)
