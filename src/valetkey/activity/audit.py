"""Security events of the audit log. Each event is written in the same transaction as the change that it records."""

from __future__ import annotations

from typing import Literal

from valetkey.storage.audit import AuditRow, add, add_if_account_exists
from valetkey.storage.engine.statement import BoundStatement

AuditEvent = Literal[
    "account.address_removed",
    "account.changed",
    "account.created",
    "account.disabled",
    "account.email_verified",
    "account.enabled",
    "account.password_changed",
    "account.provider_connected",
    "account.provider_disconnected",
    "account.removed",
    "client.approved",
    "client.changed",
    "client.created",
    "client.disabled",
    "client.enabled",
    "client.secret_added",
    "client.secret_leaked",
    "client.removed",
    "code.replayed",
    "consent.denied",
    "consent.granted",
    "consent.narrowed",
    "consent.revoked",
    "device_code.replayed",
    "grant.client_became_public",
    "grant.ended_with_session",
    "grant.revoked",
    "initial_access_token.created",
    "keys.created",
    "keys.retired",
    "personal_token.created",
    "personal_token.leaked",
    "personal_token.revoked",
    "plan.changed",
    "plan.requested",
    "refresh_token.answered_again",
    "refresh_token.reused",
    "resource.changed",
    "session.ended",
    "session.started",
    "store.restored",
    "tokens.all_revoked",
    "token.leaked",
    "token.revoked",
]


def audit_statement(
    event: AuditEvent,
    now: float,
    *,
    client_id: str | None = None,
    owner: str | None = None,
    grant_id: str | None = None,
    address: str | None = None,
    detail: str | None = None,
    created: str | None = None,
) -> BoundStatement:
    """Return the SQL statement, not yet executed, that adds an event to the audit log.

    :param now: time of the event, in seconds since 1970.
    :param client_id: the client that the event is about, or ``None``.
    :param owner: id of the resource owner that the event is about, or ``None``.
    :param grant_id: the grant that the event is about, or ``None``.
    :param address: network address that the request came from, or ``None``.
    :param detail: more about the event: names and ids only, never a secret.
    :param created: ``sub`` of an account: the event is added only if the transaction has created it. ``None`` adds it
        in any case.
    """
    row = AuditRow(now, event, client_id, owner, grant_id, address, detail)
    return add(row) if created is None else add_if_account_exists(row, created)
