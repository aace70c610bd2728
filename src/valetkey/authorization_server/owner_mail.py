"""Mail to a resource owner.

A mail is queued in the same transaction as the change that it reports. The background worker looks up the owner's
address when it sends the mail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.outbound.errors import MailNotSent
from valetkey.protocol.resource_owner import ResourceOwners, ResourceOwnersUnavailable
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import outbox
from valetkey.storage.engine.statement import BoundStatement

OWNER_MAIL_JOB = "owner_mail"


def owner_mail_statements(
    owner: str, subject: str, text: str, settings: Settings, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement, not yet executed, that queues a mail to an owner.

    The tuple is empty if mail is not configured (``mail_url``).

    :param owner: the ``sub`` of the resource owner.
    """
    if not settings.mail_url:
        return ()
    return (outbox.add(OWNER_MAIL_JOB, {"owner": owner, "subject": subject, "text": text}, now),)


def deliver_owner_mail(runtime: Runtime, payload: Mapping[str, Any], _now: float) -> None:
    """Send a queued mail to the current address of the owner's account; send nothing if the account has no address.

    :param payload: the data that ``owner_mail_statements`` queued: ``owner``, ``subject`` and ``text``.
    :raises MailNotSent: if the mail server or the host app's accounts fail; the worker tries again later.
    :raises StoreUnavailable: if Valetkey's own accounts cannot be read.
    """
    from valetkey.outbound.mail import send_mail

    address = _find_address(str(payload["owner"]), runtime.owners)
    if address:
        send_mail(runtime.settings, address, payload["subject"], payload["text"])


def _find_address(owner: str, owners: ResourceOwners) -> str:
    """Return an owner's email address, or an empty string if the account does not exist or has no address."""
    try:
        account = owners.find(owner)
        if account is None:
            return ""
        return account.email or str(owners.claims(owner, frozenset({"email"})).get("email") or "")
    except ResourceOwnersUnavailable as cause:
        raise MailNotSent(f"reading the address from the host's accounts failed: {cause}") from cause
