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

FORM_EXPIRED = "This form has expired. Please try again."


def csrf_tokens() -> list[str]:
    """The tokens that are good for this browser and sign-in; the first is the one to give."""
    runtime = current_runtime()
    session = cookies.session_secret(runtime)
    bound_to = f"{cookies.browser_secret(runtime).reveal()} {session.reveal() if session else ''}"
    return runtime.cipher.compute_hmacs("csrf", bound_to)


def is_valid_csrf_token(submitted_token: str) -> bool:
    return any(hmac.compare_digest(submitted_token.encode(), token.encode()) for token in csrf_tokens())


def check_csrf(submitted_token: str) -> None:
    """:raises InvalidRequest: where the form is not one of ours, or has expired."""
    if not is_valid_csrf_token(submitted_token):
        raise InvalidRequest(FORM_EXPIRED)


class _BrowserBoundCsrf(CSRF):
    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return csrf_tokens()[0]

    def validate_csrf_token(self, form: Form, field: CSRFTokenField) -> None:
        if not is_valid_csrf_token(str(field.data or "")):
            raise ValidationError(FORM_EXPIRED)


class PageForm(Form):
    """The base of all our forms."""

    class Meta:
        csrf = True
        csrf_class: Any = _BrowserBoundCsrf
        csrf_field_name = "csrf_token"
