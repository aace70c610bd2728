"""Send mail by SMTP (RFC 5321).

Import this module only to send mail: with it, a process has 0.7 MB more of the standard library in its memory.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from valetkey.protocol.email_address import is_email_address, parse_sender
from valetkey.settings import Settings

from .errors import MailNotSent, MailRefused
from .smtp_connection import SmtpConnection
from .tls import UnusableCaFile, make_tls_context

_POLICY = SMTP.clone(cte_type="7bit")  # readable by mail servers without 8BITMIME
# Replies to RCPT TO that are final: there is no such mailbox, or it takes no mail (RFC 5321 §4.2.3, RFC 7504 §4).
_FINAL_RECIPIENT_REPLIES = frozenset({550, 551, 553, 556})


def send_mail(settings: Settings, to: str, subject: str, text: str) -> None:
    """Send one mail through the SMTP server of the setting ``mail_url``.

    :param to: e-mail address of the recipient.
    :param subject: the subject; characters that cannot be in a header are replaced.
    :param text: the plain-text body.
    :raises MailRefused: if no mail can ever be sent to this address.
    :raises MailNotSent: if the server cannot be reached, refuses the message, or has not accepted it after 40 seconds.
    """
    if not is_email_address(to):
        raise MailRefused("the recipient is not an e-mail address that mail can be sent to")
    message, sender = EmailMessage(_POLICY), _sender(settings)
    message["From"] = sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = _header_text(subject)
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = make_msgid(domain=_issuer_domain(settings))
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: no automatic replies
    message.set_content(_encodable(text))
    with _connect(settings) as smtp:
        smtp.send_message(message, sender.addr_spec, [to])


def check_mail_server(settings: Settings) -> None:
    """Check the setting ``mail_url``: connect to the mail server and sign in, without sending a message.

    :raises MailNotSent: if the server cannot be reached, or refuses the sign-in.
    """
    with _connect(settings):
        pass


@contextmanager
def _connect(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Yield a connection to the mail server, signed in if ``mail_url`` has a user name.

    :raises MailRefused: if the server refuses the recipient for good.
    :raises MailNotSent: if connecting, signing in or another command inside the ``with`` block fails.
    """
    if not settings.mail_url:
        raise MailNotSent("mail_url is not set; set it, or drop the job")
    server = urlsplit(settings.mail_url)
    try:
        with _open(settings) as smtp:
            if server.username:
                if server.scheme == "smtp":
                    smtp.starttls(context=make_tls_context(settings.outbound_ca_file))
                smtp.login(unquote(server.username), unquote(server.password or ""))
            yield smtp
    except UnusableCaFile as cause:
        raise MailNotSent(str(cause)) from cause
    except smtplib.SMTPRecipientsRefused as cause:
        codes = {code for code, _ in cause.recipients.values()}
        error_class = MailRefused if codes <= _FINAL_RECIPIENT_REPLIES else MailNotSent
        replies = ", ".join(map(str, sorted(codes)))
        raise error_class(f"{server.hostname} refuses the recipient with reply {replies}") from cause
    except smtplib.SMTPResponseException as cause:
        raise MailNotSent(f"{type(cause).__name__} from {server.hostname}: reply {cause.smtp_code}") from cause
    except (OSError, smtplib.SMTPException, UnicodeError) as cause:
        raise MailNotSent(f"{type(cause).__name__} from {server.hostname}") from cause


@contextmanager
def _open(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Yield a new connection to the mail server; with TLS from the beginning if the scheme is ``smtps``.

    At the end of the ``with`` block it is closed, whatever the server replies to QUIT, and when: its reply to the
    message is what says whether the message was accepted.
    """
    server, client_name = urlsplit(settings.mail_url or ""), _issuer_domain(settings)
    host, port = server.hostname or "localhost", server.port or 0
    tls_context = make_tls_context(settings.outbound_ca_file) if server.scheme == "smtps" else None
    smtp = SmtpConnection(host, port, client_name, tls_context)
    try:
        yield smtp
    finally:
        with suppress(smtplib.SMTPException, OSError), closing(smtp):
            smtp.quit()


def _sender(settings: Settings) -> Address:
    """Return the sender: the setting ``mail_from``, or ``valetkey@`` the issuer's host if it is empty."""
    name_and_address = parse_sender(settings.mail_from)
    if name_and_address is None:
        return Address(username="valetkey", domain=_issuer_domain(settings))
    name, address = name_and_address
    return Address(name, addr_spec=address)


def _issuer_domain(settings: Settings) -> str:
    """Return the issuer's host as the domain of a mail address: an IP address is in brackets (RFC 5321 §4.1.3)."""
    host = urlsplit(settings.issuer).hostname or "localhost"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _header_text(text: str) -> str:
    """Return a text for a header: in one line, and without encoded words (RFC 2047), which the header would decode."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line.replace("=?", "= ?")


def _encodable(text: str) -> str:
    """Return a text that can be encoded as UTF-8: lone surrogates are replaced."""
    return text.encode("utf-8", "replace").decode()
