"""What is remembered of a consent, and what was consented to before."""

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

REQUIRED_SCOPES = frozenset({"openid"})  # without it the answer would be no authentication: whoever minds says no


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """An owner's yes: what the client asked for, and what of it the owner left ticked."""

    client: Client
    requested_scope: tuple[str, ...]
    granted_scope: tuple[str, ...]
    owner: Owner
    address: str | None


def describe_scopes(
    scope: Sequence[str], client_id: str, owner: Owner, runtime: Runtime
) -> list[tuple[str, str, bool]]:
    """Each scope with its words, and whether the owner granted it to this client before."""
    before = consents.find(runtime.store, owner.sub, client_id)
    known = parse_scope(before.scope) if before else frozenset()
    words = runtime.settings.known_scopes
    return [(name, words.get(name, name), name in known) for name in scope]


def consent_statements(decision: ConsentDecision, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Remember it for the next time, audit it, and write to the owner where the app is new to them."""
    client, owner = decision.client, decision.owner
    before = consents.find(runtime.store, owner.sub, client.client_id)
    event = audit_statement(
        "consent.granted",
        now,
        client_id=client.client_id,
        owner=owner.sub,
        address=decision.address,
        detail=format_scope(decision.granted_scope),
    )
    return (
        _remembered_consent_statement(before, decision, now),
        event,
        *_first_consent_mail_statements(before, decision, runtime, now),
    )


def _remembered_consent_statement(previous: Consent | None, decision: ConsentDecision, now: float) -> BoundStatement:
    # What was asked now and left unticked is taken back; what was not asked now stays as it was.
    kept = parse_scope(previous.scope) - set(decision.requested_scope) if previous else frozenset()
    first = previous.first_granted_at if previous else now
    scope = format_scope(kept | set(decision.granted_scope))
    return consents.remember(
        Consent(decision.owner.sub, decision.client.client_id, scope, first, now, decision.address)
    )


def _first_consent_mail_statements(
    previous: Consent | None, decision: ConsentDecision, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """A word to the owner when an app gains access for the first time."""
    if previous is not None or not runtime.settings.mail_url or not decision.owner.email:
        return ()
    account = f"{runtime.settings.issuer}{runtime.settings.account_path or ''}"
    name = decision.client.name
    text = f"You gave {name} access to your account at {runtime.settings.name}.\n\n"
    text += f"If that was not you, take it back: {account}\n"
    payload = {"to": decision.owner.email, "subject": f"{name} can now access your account", "text": text}
    return (outbox.add("mail", payload, now),)
