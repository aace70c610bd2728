"""Mail to a resource owner: queued with the write that it tells of, addressed when it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.outbound.mail import MailNotSent, send_mail
from valetkey.runtime import Runtime
from valetkey.storage import outbox
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import StoreUnavailable

OWNER_MAIL_JOB = "owner_mail"


def owner_mail_statements(
    owner: str, subject: str, text: str, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """The job that mails this; none where no mail is sent."""
    if not runtime.settings.mail_url:
        return ()
    return (outbox.add(OWNER_MAIL_JOB, {"owner": owner, "subject": subject, "text": text}, now),)


def deliver_owner_mail(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Send it to the address that the accounts know now; to nobody where they know none.

    :raises MailNotSent: where the mail server or the host's accounts do not answer; the worker tries again.
    """
    with runtime.app_context():
        address = _find_address(str(payload["owner"]), runtime)
    if address:
        send_mail(runtime.settings, address, payload["subject"], payload["text"])


def _find_address(owner: str, runtime: Runtime) -> str:
    try:
        person = runtime.owners.find(owner)
        if person is None:
            return ""
        return person.email or str(runtime.owners.claims(owner, frozenset({"email"})).get("email") or "")
    except StoreUnavailable:
        raise
    except Exception as cause:  # the host's own code may raise anything, and the worker must go on
        raise MailNotSent(f"{type(cause).__name__} from the host's accounts") from cause
