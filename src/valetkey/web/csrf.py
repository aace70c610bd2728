"""CSRF protection: WTForms forms with a token that is bound to the browser and its sign-in.

Flask-WTF is not used, because the host's settings for it would also change Valetkey's forms.
"""

from __future__ import annotations

import hmac
import json
import re
from typing import Any

from flask import request
from wtforms import Form, HiddenField
from wtforms.csrf.core import CSRF, CSRFTokenField
from wtforms.validators import ValidationError

from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime

from . import cookies
from .context import current_runtime
from .resource_owners import current_owner
from .texts import CHECK_PAGE, FORM_EXPIRED, RELOAD_PAGE, SIGN_IN_CHANGED


def csrf_tokens() -> list[str]:
    """Return the CSRF tokens that are valid for this browser and sign-in, one for each configured encryption key.

    A token has two halves: the first is for the browser, the second for who is signed in to it, too. New forms contain
    the first token; the others keep older forms valid while encryption keys are rotated.
    """
    runtime = current_runtime()
    browser = cookies.browser_secret(runtime.settings).reveal()
    of_browser = runtime.cipher.compute_hmacs("csrf of browser", browser)
    of_sign_in = runtime.cipher.compute_hmacs("csrf of sign-in", json.dumps([browser, *_identify_sign_in(runtime)]))
    return ["".join(halves) for halves in zip(of_browser, of_sign_in, strict=True)]


def _identify_sign_in(runtime: Runtime) -> tuple[str | None, ...]:
    """Return what identifies who is signed in: the session of a built-in account, else the host's user and session."""
    if runtime.has_built_in_accounts:
        session = cookies.session_secret(runtime.settings)
        return (session.reveal() if session else None,)
    owner = current_owner()
    return (owner.sub, owner.sid) if owner else ()


class _BrowserBoundCsrf(CSRF):
    """Implementation of WTForms' CSRF interface with tokens that are bound to the browser and its sign-in."""

    is_sign_in = False

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:
        return csrf_tokens()[0]

    def validate_csrf_token(self, form: Form, field: CSRFTokenField) -> None:
        submitted, tokens = str(field.data or ""), csrf_tokens()
        half = len(tokens[0]) // 2
        if not _is_any_of(submitted[:half], [token[:half] for token in tokens]):
            raise ValidationError(FORM_EXPIRED)
        if not (self.is_sign_in or _is_any_of(submitted, tokens)):
            raise ValidationError(SIGN_IN_CHANGED)


def _is_any_of(submitted: str, expected: list[str]) -> bool:
    """Return whether a text is one of those that are expected, in constant time."""
    return any(hmac.compare_digest(submitted.encode(), text.encode()) for text in expected)


class _SignInCsrf(_BrowserBoundCsrf):
    """Accepts the token of any form of this browser, so that a form that signs the user in can be submitted twice."""

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


def button_form_problem() -> str | None:
    """Return why the submitted form without input is refused, as a sentence for the page; None if it is accepted.

    For a view that shows the form again.
    """
    problem = _csrf_problem()
    return problem and f"{problem} {CHECK_PAGE}"


def check_button_form() -> None:
    """Check the CSRF token of the submitted form, for a view that does not show the form again.

    :raises InvalidRequest: if the token is not valid for this browser and sign-in.
    """
    problem = _csrf_problem()
    if problem is not None:
        raise InvalidRequest(f"{problem} {RELOAD_PAGE}")


def _csrf_problem() -> str | None:
    form = ButtonForm(request.form)
    return None if form.validate() else str(form.csrf_token.errors[0])
