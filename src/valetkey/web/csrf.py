"""Forms that only our own pages can send: WTForms with a token bound to the browser and its sign-in.

Not Flask-WTF: a host's settings for it would reach into our forms.
"""

from __future__ import annotations

import hmac
from typing import Any

from wtforms import Form
from wtforms.csrf.core import CSRF, CSRFTokenField
from wtforms.validators import ValidationError

from valetkey.protocol.errors import InvalidRequest

from . import cookies
from .context import current_runtime

EXPIRED = "This form has expired. Please try again."


def csrf_tokens() -> list[str]:
    """The tokens that are good for this browser and sign-in; the first is the one to give."""
    runtime = current_runtime()
    session = cookies.session(runtime)
    bound_to = f"{cookies.browser(runtime).reveal()} {session.reveal() if session else ''}"
    return runtime.cipher.signatures("csrf", bound_to)


def is_csrf_token(sent: str) -> bool:
    return any(hmac.compare_digest(sent.encode(), token.encode()) for token in csrf_tokens())


def check_csrf(sent: str) -> None:
    """:raises InvalidRequest: where the form is not one of ours, or has expired."""
    if not is_csrf_token(sent):
        raise InvalidRequest(EXPIRED)


class _BrowserBound(CSRF):
    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return csrf_tokens()[0]

    def validate_csrf_token(self, form: Form, field: CSRFTokenField) -> None:
        if not is_csrf_token(str(field.data or "")):
            raise ValidationError(EXPIRED)


class PageForm(Form):
    """The base of all our forms."""

    class Meta:
        csrf = True
        csrf_class: Any = _BrowserBound
        csrf_field_name = "csrf_token"
