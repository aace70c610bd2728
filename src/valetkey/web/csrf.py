"""CSRF protection: WTForms forms with a token that is bound to the browser and its sign-in.

Flask-WTF is not used, because the host's settings for it would also change Valetkey's forms.
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
    """Return the CSRF tokens that are valid for this browser and sign-in, one for each configured encryption key.

    New forms contain the first token; the others keep older forms valid while encryption keys are rotated.
    """
    runtime = current_runtime()
    session = cookies.session_secret(runtime)
    binding = f"{cookies.browser_secret(runtime).reveal()} {session.reveal() if session else ''}"
    return runtime.cipher.compute_hmacs("csrf", binding)


def is_valid_csrf_token(submitted_token: str) -> bool:
    """Return whether a submitted CSRF token is valid for this browser and sign-in; compares in constant time."""
    return any(hmac.compare_digest(submitted_token.encode(), token.encode()) for token in csrf_tokens())


def check_csrf(submitted_token: str) -> None:
    """Check the CSRF token of a submitted form.

    :raises InvalidRequest: if the token is not valid for this browser and sign-in.
    """
    if not is_valid_csrf_token(submitted_token):
        raise InvalidRequest(FORM_EXPIRED)


class _BrowserBoundCsrf(CSRF):
    """Implementation of WTForms' CSRF interface with tokens that are bound to the browser and its sign-in."""

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return csrf_tokens()[0]

    def validate_csrf_token(self, form: Form, field: CSRFTokenField) -> None:
        if not is_valid_csrf_token(str(field.data or "")):
            raise ValidationError(FORM_EXPIRED)


class PageForm(Form):
    """Base class of all forms on Valetkey's pages: adds the field ``csrf_token``, and validates it."""

    class Meta:
        csrf = True
        csrf_class: Any = _BrowserBoundCsrf
        csrf_field_name = "csrf_token"
