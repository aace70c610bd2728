"""Remembered consents: read the scopes that an owner granted to a client before, and store a new consent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.runtime import Runtime
from valetkey.storage import consents, outbox
from valetkey.storage.clients import Client
from valetkey.storage.consents import Consent
from valetkey.storage.engine.statement import BoundStatement

# Scopes that an owner cannot untick, because the response would not be an authentication; the owner can deny instead.
REQUIRED_SCOPES = frozenset({"openid"})


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """A resource owner's consent: the scopes that a client requested, and those that the owner granted."""

    client: Client
    requested_scope: tuple[str, ...]
    granted_scope: tuple[str, ...]
    owner: Owner
    address: str | None


def describe_scopes(
    scope: Sequence[str], client_id: str, owner: Owner, runtime: Runtime
) -> list[tuple[str, str, bool]]:
    """Return a tuple for each scope: name, description, and whether the owner granted it to this client before."""
    previous = consents.find(runtime.store, owner.sub, client_id)
    granted_before = parse_scope(previous.scope) if previous else frozenset()
    descriptions = runtime.settings.known_scopes
    return [(name, descriptions.get(name, name), name in granted_before) for name in scope]


def consent_statements(decision: ConsentDecision, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that store a consent and write it to the audit log.

    If the owner had granted this client no access before, a statement queues a mail that tells the owner.
    """
    client, owner = decision.client, decision.owner
    previous = consents.find(runtime.store, owner.sub, client.client_id)
    event = audit_statement(
        "consent.granted",
        now,
        client_id=client.client_id,
        owner=owner.sub,
        address=decision.address,
        detail=format_scope(decision.granted_scope),
    )
    return (
        _remembered_consent_statement(previous, decision, now),
        event,
        *_first_consent_mail_statements(previous, decision, runtime, now),
    )


def _remembered_consent_statement(previous: Consent | None, decision: ConsentDecision, now: float) -> BoundStatement:
    # A requested scope that was left unticked is withdrawn; a scope that was not requested stays as it was.
    unaffected = parse_scope(previous.scope) - set(decision.requested_scope) if previous else frozenset()
    first_granted_at = previous.first_granted_at if previous else now
    scope = format_scope(unaffected | set(decision.granted_scope))
    return consents.remember(
        Consent(decision.owner.sub, decision.client.client_id, scope, first_granted_at, now, decision.address)
    )


def _first_consent_mail_statements(
    previous: Consent | None, decision: ConsentDecision, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement that queues a mail to the owner when a client gets access for the first time.

    The tuple is empty if the owner consented before or has no email address, or mail is not configured (``mail_url``).

    :param previous: the remembered consent before this decision, or ``None`` if there was none.
    """
    if previous is not None or not runtime.settings.mail_url or not decision.owner.email:
        return ()
    account = f"{runtime.settings.issuer}{runtime.settings.account_path or ''}"
    name = decision.client.name
    text = f"You gave {name} access to your account at {runtime.settings.name}.\n\n"
    text += f"If that was not you, take it back: {account}\n"
    payload = {"to": decision.owner.email, "subject": f"{name} can now access your account", "text": text}
    return (outbox.add("mail", payload, now),)
