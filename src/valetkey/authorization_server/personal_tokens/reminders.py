"""Reminder mails: sent seven days and one day before a personal access token expires."""

from __future__ import annotations

from datetime import UTC, datetime

from valetkey.authorization_server.owner_mail import owner_mail_statements
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import personal_access_tokens
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.personal_access_tokens import PersonalToken

from .service import tokens_url

_REMINDER_DAYS = (1, 7)  # one day first: then the reminder for seven days is not sent any more


def queue_reminders(runtime: Runtime, now: float) -> int:
    """Queue the reminder mails that are due, and return how many were queued.

    Concurrent workers queue each reminder only once. Return 0 if mail or the page for the tokens is not configured.
    """
    if not runtime.settings.mail_url or not runtime.settings.tokens_path:
        return 0
    return sum(
        runtime.store.write(
            Transaction(
                personal_access_tokens.mark_reminded(token.token_id, days),
                _reminder_mail_statements(token, runtime.settings, now),
            )
        )
        for days in _REMINDER_DAYS
        for token in personal_access_tokens.list_due_for_reminder(runtime.store, days, now)
    )


def _reminder_mail_statements(token: PersonalToken, settings: Settings, now: float) -> tuple[BoundStatement, ...]:
    expiry = datetime.fromtimestamp(token.expires_at, UTC)
    text = f'Your personal access token "{token.name}" ({token.prefix}...) at {settings.name} '
    text += f"expires on {expiry.day} {expiry:%B %Y} at {expiry:%H:%M} UTC. Programs that use it stop working then.\n\n"
    text += f"Create a new one: {tokens_url(settings)}\n"
    return owner_mail_statements(
        token.owner, f"A personal access token expires on {expiry.day} {expiry:%B %Y}", text, settings, now
    )
