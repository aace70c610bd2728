"""What is remembered of a consent, and what was consented to before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valetkey.activity.audit import audit
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.runtime import Runtime
from valetkey.storage import consents, outbox
from valetkey.storage.clients import Client
from valetkey.storage.consents import Consent
from valetkey.storage.engine.statement import Bound

REQUIRED = frozenset({"openid"})  # without it the answer would be no authentication: whoever minds says no


@dataclass(frozen=True, slots=True)
class Consented:
    """An owner's yes: what the client asked for, and what of it the owner left ticked."""

    client: Client
    asked: tuple[str, ...]
    granted: tuple[str, ...]
    owner: Owner
    address: str | None


def scope_lines(scope: Sequence[str], client_id: str, owner: Owner, runtime: Runtime) -> list[tuple[str, str, bool]]:
    """Each scope with its words, and whether the owner granted it to this client before."""
    before = consents.find(runtime.store, owner.sub, client_id)
    known = parse_scope(before.scope) if before else frozenset()
    words = runtime.settings.known_scopes
    return [(name, words.get(name, name), name in known) for name in scope]


def consent_rows(consented: Consented, runtime: Runtime, now: float) -> tuple[Bound, ...]:
    """Remember it for the next time, audit it, and write to the owner where the app is new to them."""
    client, owner = consented.client, consented.owner
    before = consents.find(runtime.store, owner.sub, client.client_id)
    event = audit(
        "consent.granted",
        now,
        client_id=client.client_id,
        owner=owner.sub,
        address=consented.address,
        detail=format_scope(consented.granted),
    )
    return (_remember(before, consented, now), event, *_mail(before, consented, runtime, now))


def _remember(before: Consent | None, consented: Consented, now: float) -> Bound:
    # What was asked now and left unticked is taken back; what was not asked now stays as it was.
    kept = parse_scope(before.scope) - set(consented.asked) if before else frozenset()
    first = before.first_granted_at if before else now
    scope = format_scope(kept | set(consented.granted))
    return consents.remember(
        Consent(consented.owner.sub, consented.client.client_id, scope, first, now, consented.address)
    )


def _mail(before: Consent | None, consented: Consented, runtime: Runtime, now: float) -> tuple[Bound, ...]:
    """A word to the owner when an app gains access for the first time."""
    if before is not None or not runtime.settings.mail_url or not consented.owner.email:
        return ()
    account = f"{runtime.settings.issuer}{runtime.settings.account_path or ''}"
    name = consented.client.name
    text = f"You gave {name} access to your account at {runtime.settings.name}.\n\n"
    text += f"If that was not you, take it back: {account}\n"
    payload = {"to": consented.owner.email, "subject": f"{name} can now access your account", "text": text}
    return (outbox.add("mail", payload, now),)
