"""Forms on the resource owner's pages. Tests and scripts of users rely on the names of the fields and on their ids."""

from __future__ import annotations

from wtforms import DateField, EmailField, Field, Form, HiddenField, PasswordField, SelectField, StringField
from wtforms.validators import InputRequired, Length, Optional, Regexp, ValidationError

from valetkey.accounts.email_address import is_email_address
from valetkey.accounts.password import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from valetkey.web.csrf import PageForm


def _check_email(form: Form, field: Field) -> None:
    if not is_email_address(str(field.data or "").strip()):
        raise ValidationError("Enter an e-mail address, like ada@example.org.")


_PASSWORD_LENGTH = Length(
    MIN_PASSWORD_LENGTH,
    MAX_PASSWORD_LENGTH,
    f"Choose a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.",
)


class SignInForm(PageForm):
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), Length(max=254)])
    password = PasswordField("Password", [InputRequired("Enter your password."), Length(max=200)])
    next = HiddenField()


class SignUpForm(PageForm):
    name = StringField("Name", [InputRequired("Enter your name."), Length(max=100)])
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), Length(max=254), _check_email])
    password = PasswordField(
        "Password",
        [InputRequired("Choose a password."), _PASSWORD_LENGTH],
    )
    next = HiddenField()


class UserCodeForm(PageForm):
    user_code = StringField(
        "Code", [InputRequired("Enter the code that your device shows."), Length(max=40)], description="Eight letters."
    )


class LogoutForm(PageForm):
    """Only the CSRF token: the client's parameters are read from the request, and checked again."""


class ConsentForm(PageForm):
    """Only the CSRF token: the scopes and the decision are read from the request."""


class PersonalTokenForm(PageForm):
    """Form for a new personal access token. Its scopes are read from the request.

    ``expires_in`` is a number of days, or ``date``: then ``expires_on`` is the last day.
    """

    name = StringField(
        "Name", [InputRequired("Enter a name."), Length(max=100)], description="What it is for, to know it again."
    )
    expires_in = SelectField("Expires after", [InputRequired("Choose when it expires.")])
    expires_on = DateField("Date", [Optional()], description="The token works until the end of that day, UTC.")
    token_id = HiddenField(validators=[InputRequired(), Regexp(r"[A-Za-z0-9]{22}\Z")])


class MailSignUpForm(PageForm):
    name = StringField("Name", [InputRequired("Enter your name."), Length(max=100)])
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), Length(max=254), _check_email])
    next = HiddenField()


class ForgottenPasswordForm(PageForm):
    email = EmailField("E-mail address", [InputRequired("Enter your e-mail address."), Length(max=254), _check_email])


class NewPasswordForm(PageForm):
    password = PasswordField(
        "New password",
        [InputRequired("Choose a password."), _PASSWORD_LENGTH],
    )


class ChangePasswordForm(NewPasswordForm):
    current = PasswordField(
        "Current password", [InputRequired("Enter your password."), Length(max=MAX_PASSWORD_LENGTH)]
    )


class ConfirmForm(PageForm):
    """Only the CSRF token: a page with a button and no input."""
