"""Remembered consents: read the scopes that an owner granted to a client before, and store a new consent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.protocol.client_identity import covers_identity, identity_changes
from valetkey.protocol.consented_identity import read_refused_scopes, with_consented_redirects, with_scopes
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, consents, outbox, scope_withdrawal
from valetkey.storage.clients import Client
from valetkey.storage.consents import Consent
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store

from .shown_scopes import merge_scopes, remembered_scopes, show_scopes

# Scopes that an owner cannot untick, because the response would not be an authentication; the owner can deny instead.
REQUIRED_SCOPES = frozenset({"openid"})


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """A resource owner's consent: the scopes that a client requested, and those that the owner granted.

    :param client_identity: the identity of the client, as it was shown to the owner.
    :param resources: URLs of the resources that the scopes are for.
    :param withdrawn_claims: names of claims that were offered, in a scope or individually, and not granted.
    """

    client: Client
    client_identity: str
    requested_scope: tuple[str, ...]
    granted_scope: tuple[str, ...]
    resources: tuple[str, ...]
    withdrawn_claims: frozenset[str]
    owner: Owner
    address: str | None


def find_consent(owner: Owner | None, client_id: str, store: Store) -> Consent | None:
    """Return the remembered consent of the signed-in owner to a client; ``None`` if there is none or no one is."""
    return consents.find(store, owner.sub, client_id) if owner else None


def describe_scopes(
    scope: Sequence[str], granted_before: frozenset[str], settings: Settings
) -> list[tuple[str, str, bool]]:
    """Return a tuple for each scope: name, description, and whether it is in ``granted_before``."""
    descriptions = settings.known_scopes
    return [(name, descriptions.get(name, name), name in granted_before) for name in scope]


def allowed_scopes(previous: Consent | None) -> frozenset[str]:
    """Return the names of the scopes of a remembered consent; empty if there is none."""
    return frozenset(previous.scope.split()) if previous else frozenset()


def refused_scopes(previous: Consent | None) -> frozenset[str]:
    """Return the names of the scopes that an owner left unticked when consenting to a client, and did not allow since.

    Empty if there is no consent. A consent of an earlier version does not say it.
    """
    return read_refused_scopes(previous.identity) if previous and previous.identity else frozenset()


def describe_changes(previous: Consent | None, identity: str) -> tuple[str, ...]:
    """Return what changed in a client's identity since the owner's last consent, one sentence for each change.

    :param identity: the client's present identity, as ``describe_identity`` returned it.
    """
    if previous is None or previous.identity is None:
        return ()
    return identity_changes(previous.identity, identity)


def consent_statements(decision: ConsentDecision, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that store a consent and write it to the audit log.

    A requested scope that was left unticked is withdrawn: from the remembered consent and from all grants that the
    owner gave the client before. So is a scope with a claim that was requested individually and left unticked. Another
    scope that was not requested stays as it was, except that it is not remembered any more if the client has another
    identity now. The caller adds the new grant after these statements, in the same transaction.

    If the owner had granted this client no access before, a statement queues a mail that tells the owner.
    """
    client, owner = decision.client, decision.owner
    previous = consents.find(runtime.store, owner.sub, client.client_id)
    scope = format_scope(decision.granted_scope)
    event = audit_statement(
        "consent.granted", now, client_id=client.client_id, owner=owner.sub, address=decision.address, detail=scope
    )
    return (
        *_remember_statements(decision, previous, runtime.settings, now),
        *(consents.add_scope(owner.sub, client.client_id, name) for name in decision.granted_scope),
        *_withdrawal_statements(decision, previous, runtime, now),
        event,
        *_first_consent_mail_statements(previous, decision, runtime.settings, now),
    )


def _remember_statements(
    decision: ConsentDecision, previous: Consent | None, settings: Settings, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements that store a consent, with what was shown, but without its scopes.

    :param previous: the remembered consent before this decision, or ``None`` if there was none.
    """
    owner, client, shown_identity = decision.owner.sub, decision.client, decision.client_identity
    granted = show_scopes(decision.granted_scope, decision.resources, settings)
    refused = refused_scopes(previous).union(decision.requested_scope).difference(decision.granted_scope)
    identity = with_scopes(shown_identity, granted, refused)
    consent = Consent(
        owner, client.client_id, format_scope(decision.granted_scope), now, now, decision.address, identity
    )
    if previous is None:
        return (consents.remember(consent),)
    if previous.identity is None or not covers_identity(previous.identity, shown_identity):
        return consents.forget_scopes(previous), consents.remember(consent)
    extended_identity = with_scopes(
        with_consented_redirects(shown_identity, previous.identity, client.identity),
        merge_scopes(remembered_scopes(previous, client, settings), decision.requested_scope, granted),
        refused,
    )
    return (consents.remember(consent, previous, extended_identity),)


def _withdrawal_statements(
    decision: ConsentDecision, previous: Consent | None, runtime: Runtime, now: float
) -> Iterator[BoundStatement]:
    """Yield the SQL statements that withdraw what was left unticked, from the remembered consent and all grants.

    :param previous: the remembered consent before this decision, or ``None`` if there was none.
    """
    owner, client_id, store = decision.owner.sub, decision.client.client_id, runtime.store
    unticked_scope = set(decision.requested_scope) - set(decision.granted_scope)
    covering_scope = _scopes_with_unticked_claims(decision, runtime.settings)
    narrowed_scope = sorted(unticked_scope | covering_scope & allowed_scopes(previous))
    if narrowed_scope:
        detail = format_scope(narrowed_scope)
        yield audit_statement(
            "consent.narrowed", now, client_id=client_id, owner=owner, address=decision.address, detail=detail
        )
    for name in sorted(unticked_scope | covering_scope):
        yield consents.remove_scope(owner, client_id, name)
        yield from scope_withdrawal.withdrawal_statements(owner, client_id, name, now)
    if not decision.withdrawn_claims:
        return
    for grant_id, claims in scope_withdrawal.list_requested_claims(store, owner, client_id):
        remaining = {
            place: {name: request for name, request in requests.items() if name not in decision.withdrawn_claims}
            for place, requests in json.loads(claims).items()
        }
        new_claims = to_json(remaining) if any(remaining.values()) else None
        if new_claims != claims:
            yield scope_withdrawal.replace_requested_claims(grant_id, claims, new_claims)
            yield change_feed.add("changed", f"grant {grant_id}")


def _scopes_with_unticked_claims(decision: ConsentDecision, settings: Settings) -> set[str]:
    """Return the scopes that were not requested, and have a claim that was requested individually and left unticked."""
    requested = frozenset(decision.requested_scope)
    unticked = decision.withdrawn_claims - settings.claims_of(requested)
    others = settings.known_scopes.keys() - requested
    return {name for name in others if settings.claims_of(frozenset({name})) & unticked}


def _first_consent_mail_statements(
    previous: Consent | None, decision: ConsentDecision, settings: Settings, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement that queues a mail to the owner when a client gets access for the first time.

    The tuple is empty if the owner consented before or has no email address, or mail is not configured (``mail_url``).

    :param previous: the remembered consent before this decision, or ``None`` if there was none.
    """
    if previous is not None or not settings.mail_url or not decision.owner.email:
        return ()
    account = f"{settings.issuer}{settings.account_path or ''}"
    name = decision.client.name
    text = f"You allowed {name} to access your account at {settings.name}.\n\n"
    text += f"If this was not you, revoke the access: {account}\n"
    payload = {"to": decision.owner.email, "subject": f"{name} can now access your account", "text": text}
    return (outbox.add("mail", payload, now),)
