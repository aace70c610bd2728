"""Send mail by SMTP (RFC 5321)."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from valetkey.settings import Settings

_TIMEOUT_S = 10


class MailNotSent(Exception):
    """The mail server could not be reached, or refused the sign-in or the message; ``str(error)`` says which."""


def send_mail(settings: Settings, to: str, subject: str, text: str) -> None:
    """Send one mail through the SMTP server of the setting ``mail_url``.

    :param to: e-mail address of the recipient.
    :param text: the plain-text body.
    :raises MailNotSent: if the server cannot be reached, or refuses the message.
    """
    message = EmailMessage()
    message["From"] = settings.mail_from or f"valetkey@{urlsplit(settings.issuer).hostname}"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(text)
    with _connect(settings) as smtp:
        smtp.send_message(message)


def check_mail_server(settings: Settings) -> None:
    """Check the setting ``mail_url``: connect to the mail server and sign in, without sending a message.

    :raises MailNotSent: if the server cannot be reached, or refuses the sign-in.
    """
    with _connect(settings):
        pass


@contextmanager
def _connect(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Yield a connection to the mail server, signed in if ``mail_url`` has a user name.

    :raises MailNotSent: if connecting, signing in or a command inside the ``with`` block fails.
    """
    server = urlsplit(settings.mail_url or "")
    smtp_class = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    try:
        with smtp_class(server.hostname or "localhost", server.port or 0, timeout=_TIMEOUT_S) as smtp:
            if server.username:
                if server.scheme == "smtp":
                    smtp.starttls()
                smtp.login(unquote(server.username), unquote(server.password or ""))
            yield smtp
    except (OSError, smtplib.SMTPException) as cause:
        raise MailNotSent(f"{type(cause).__name__} from {server.hostname}") from cause
