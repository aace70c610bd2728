"""CSRF protection: WTForms forms with a token that is bound to the browser and its sign-in.

Flask-WTF is not used, because the host's settings for it would also change Valetkey's forms.
"""

from __future__ import annotations

import hmac
import re
from typing import Any

from flask import request
from wtforms import Form, HiddenField
from wtforms.csrf.core import CSRF, CSRFTokenField
from wtforms.validators import ValidationError

from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.secret import random_id

from . import cookies
from .context import current_runtime
from .texts import FORM_EXPIRED


def csrf_tokens(*, is_sign_in: bool = False) -> list[str]:
    """Return the CSRF tokens that are valid for this browser and sign-in, one for each configured encryption key.

    :param is_sign_in: whether they are for a form that signs the user in. Its token stays valid when the sign-in cookie
        changes, so that the form can be submitted twice.

    New forms contain the first token; the others keep older forms valid while encryption keys are rotated.
    """
    runtime = current_runtime()
    session = None if is_sign_in else cookies.session_secret(runtime.settings)
    binding = f"{cookies.browser_secret(runtime.settings).reveal()} {session.reveal() if session else ''}"
    return runtime.cipher.compute_hmacs("csrf of sign-in" if is_sign_in else "csrf", binding)


class _BrowserBoundCsrf(CSRF):
    """Implementation of WTForms' CSRF interface with tokens that are bound to the browser and its sign-in."""

    is_sign_in = False

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return csrf_tokens(is_sign_in=self.is_sign_in)[0]

    def validate_csrf_token(self, form: Form, field: CSRFTokenField) -> None:
        submitted = str(field.data or "").encode()
        tokens = csrf_tokens() + (csrf_tokens(is_sign_in=True) if self.is_sign_in else [])
        if not any(hmac.compare_digest(submitted, token.encode()) for token in tokens):  # in constant time
            raise ValidationError(FORM_EXPIRED)


class _SignInCsrf(_BrowserBoundCsrf):
    """Accepts the tokens of other forms, too: the buttons of providers on the sign-in page are forms of their own."""

    is_sign_in = True


class PageForm(Form):
    """Base class of all forms on Valetkey's pages: adds the field ``csrf_token``, and validates it."""

    class Meta:
        csrf = True
        csrf_class: Any = _BrowserBoundCsrf
        csrf_field_name = "csrf_token"


class SubmittedOnceForm(PageForm):
    """Base class of forms that have one effect also if they are submitted twice.

    The user may press the button again while the browser waits for the next page. By the random ``submission``, the
    server recognizes that the same form was submitted twice.
    """

    submission = HiddenField(default=random_id)


class SignInPageForm(SubmittedOnceForm):
    """Base class of forms that sign the user in. Their CSRF token is not bound to the browser's sign-in."""

    class Meta:
        csrf_class: Any = _SignInCsrf


def is_submission_id(text: str) -> bool:
    """Return whether a text has the format of the field ``submission``."""
    return re.fullmatch(r"[A-Za-z0-9]{22}", text) is not None


class ButtonForm(PageForm):
    """Form of buttons without input. It has only the CSRF token; the view reads other data from the request."""


def check_button_form() -> None:
    """Check the CSRF token of the submitted form, for a view that does not show the form again.

    :raises InvalidRequest: if the token is not valid for this browser and sign-in.
    """
    if not ButtonForm(request.form).validate():
        raise InvalidRequest(FORM_EXPIRED)
