"""WTForms forms of the pages for resource owners. Field names and ids are stable: tests and users' scripts use them.

Labels, hints and errors of fields are texts of pages, too; see ``web/texts.py``.
"""

from __future__ import annotations

from typing import NoReturn

from wtforms import DateField, EmailField, Field, Form, HiddenField, PasswordField, SelectField, StringField
from wtforms.validators import InputRequired, Length, Regexp, ValidationError

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.password import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from valetkey.accounts.sign_in import require_email_address
from valetkey.authorization_server.texts import NAME_PROBLEM
from valetkey.protocol.display_name import display_name_problem
from valetkey.web.csrf import PageForm, SignInPageForm, SubmittedOnceForm


def _check_email(form: Form, field: Field) -> None:
    if field.errors:  # too long
        return
    try:
        require_email_address(field.data or "")
    except SignInRefused as refusal:
        raise ValidationError(refusal.message) from None


def _check_name(form: Form, field: Field) -> None:
    problem = None if field.errors else display_name_problem(field.data or "")
    if problem:
        raise ValidationError(NAME_PROBLEM.format(problem=problem))


_PASSWORD_LENGTH = Length(
    MIN_PASSWORD_LENGTH,
    MAX_PASSWORD_LENGTH,
    f"Choose a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.",
)


def _at_most(length: int) -> Length:
    return Length(max=length, message=f"Enter at most {length} characters.")


class SignInForm(SignInPageForm):
    """Form of the sign-in page; ``next`` is the path to continue at."""

    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), _at_most(254)])
    password = PasswordField("Password", [InputRequired("Enter your password."), _at_most(200)])
    next = HiddenField()


class SignUpForm(SignInPageForm):
    """Form of the sign-up page if no mail server is configured; ``next`` is the path to continue at."""

    name = StringField("Name", [InputRequired("Enter your name."), _at_most(100), _check_name])
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), _at_most(254), _check_email])
    password = PasswordField(
        "Password",
        [InputRequired("Choose a password."), _PASSWORD_LENGTH],
    )
    next = HiddenField()


class UserCodeForm(PageForm):
    """Form on which the user enters the code that a device shows (RFC 8628 §3.3)."""

    user_code = StringField(
        "Code", [InputRequired("Enter the code that your device shows."), _at_most(40)], description="Eight letters."
    )


def refuse_value(message: str) -> NoReturn:
    """Refuse the value of a field, in a validator that a view passes to ``validate``: the page shows the message."""
    raise ValidationError(message)


class PersonalTokenForm(PageForm):
    """Form for a new personal access token. The view reads the token's scopes from the submitted data.

    ``submission`` is a random text that is different in each form that was shown.
    ``expires_in`` is a number of days, or ``date``: then ``expires_on`` is the last day on which the token is valid.
    The view checks that day.
    """

    name = StringField(
        "Name",
        [InputRequired("Enter a name."), _at_most(100), _check_name],
        description="Such as what you use it for.",
    )
    expires_in = SelectField("Expires after", [InputRequired("Choose when it expires.")])
    expires_on = DateField("Date", description="The token works until the end of that day, UTC.")
    submission = HiddenField(validators=[InputRequired(), Regexp(r"[A-Za-z0-9]{22}\Z")])


class MailSignUpForm(SubmittedOnceForm):
    """Form of the sign-up page if a link is mailed; the password is chosen on the page of the link."""

    name = StringField("Name", [InputRequired("Enter your name."), _at_most(100), _check_name])
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), _at_most(254), _check_email])
    next = HiddenField()


class ForgottenPasswordForm(SubmittedOnceForm):
    """Form that requests a mail with a link to set a new password; ``next`` is the path to continue at after that."""

    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), _at_most(254), _check_email])
    next = HiddenField()


class PasswordLinkForm(SubmittedOnceForm):
    """Form on which a signed-in user without a password requests a mail with a link to set one."""


class NewPasswordForm(SignInPageForm):
    """Form on which the user chooses a password after opening a mailed link."""

    password = PasswordField("New password", [InputRequired("Choose a password."), _PASSWORD_LENGTH])


class FirstPasswordForm(NewPasswordForm):
    """Form on which a new user chooses a password after opening a mailed link."""

    password = PasswordField("Password", [InputRequired("Choose a password."), _PASSWORD_LENGTH])


class ChangePasswordForm(PageForm):
    """Form on which a signed-in user changes the password; it requires the current password."""

    password = PasswordField("New password", [InputRequired("Choose a password."), _PASSWORD_LENGTH])
    current = PasswordField("Current password", [InputRequired("Enter your password."), _at_most(MAX_PASSWORD_LENGTH)])
