"""Connected apps, i.e. the clients to which a resource owner has granted access: list them, and revoke one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.protocol.claims import STANDARD_CLAIMS, describe_claims
from valetkey.protocol.scope import parse_scope
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, clients, consents, grants
from valetkey.storage.consents import GrantedScope
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store


@dataclass(frozen=True, slots=True)
class ConnectedApp:
    """A client to which an owner has granted access, as the account page lists it. Times in seconds since 1970."""

    client_id: str
    name: str
    scopes: tuple[str, ...]  # their descriptions, which the owner reads
    first_granted_at: float
    last_used_at: float | None  # None if it has never called the API
    granted_from_address: str | None


def list_connected_apps(owner: str, runtime: Runtime, now: float) -> list[ConnectedApp]:
    """Return the clients to which the owner has granted access, with what they may do and the last use.

    What a client may do is the union of its remembered consent and of all grants that still live: each of them may
    come from another device and have another scope. Clients with a remembered consent come first.
    """
    granted_by_client: dict[str, list[GrantedScope]] = {}
    for granted in consents.list_granted(runtime.store, owner, now):
        granted_by_client.setdefault(granted.client_id, []).append(granted)
    apps = [
        ConnectedApp(
            app.consent.client_id,
            client_name(app.consent.client_id, runtime, now),
            _describe_access(app.consent.scope, granted_by_client.pop(app.consent.client_id, []), runtime.settings),
            app.consent.first_granted_at,
            app.last_used_at,
            app.consent.address,
        )
        for app in consents.list_by_owner(runtime.store, owner)
    ]
    for client_id, grants_of_client in granted_by_client.items():
        uses = [granted.last_used_at for granted in grants_of_client if granted.last_used_at is not None]
        apps.append(
            ConnectedApp(
                client_id,
                client_name(client_id, runtime, now),
                _describe_access("", grants_of_client, runtime.settings),
                min(granted.first_granted_at for granted in grants_of_client),
                max(uses, default=None),
                None,
            )
        )
    return apps


def client_name(client_id: str, runtime: Runtime, now: float) -> str:
    """Return the name of a client, or its id if it is not known or has no name."""
    client = clients.find(runtime.store, client_id, now)
    return client.name if client else runtime.client_metadata_documents.find_cached_name(client_id) or client_id


def _describe_access(consented_scope: str, granted: Sequence[GrantedScope], settings: Settings) -> tuple[str, ...]:
    """Return the descriptions of all scopes, and of the claims that were granted individually."""
    scopes = parse_scope(consented_scope).union(*(parse_scope(each.scope) for each in granted))
    descriptions: Mapping[str, str] = settings.known_scopes
    claims = {
        name
        for each in granted
        if each.claims
        for requested in json.loads(each.claims).values()
        for name in requested
        if name in STANDARD_CLAIMS
    }
    individual_claims = sorted(claims - settings.claims_of(scopes))
    return (
        *(descriptions.get(name, name) for name in sorted(scopes)),
        *([describe_claims(individual_claims)] if individual_claims else []),
    )


def revoke_connected_app(owner: str, client_id: str, address: str | None, store: Store, now: float) -> None:
    """Revoke the owner's consent for a client, and all grants of the owner to the client.

    Every process rejects the tokens of these grants within a second.

    :param address: the IP address of the request, for the audit log.
    """
    store.write_all(*app_revocation_statements(owner, client_id, address, now))


def app_revocation_statements(
    owner: str, client_id: str, address: str | None, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that revoke the owner's consent for a client and all its grants.

    :param address: the IP address of the request, for the audit log.
    """
    return (
        consents.remove(owner, client_id),
        change_feed.add_for_unrevoked_grants(owner, client_id),
        grants.revoke_all_of_owner_and_client(owner, client_id, now),
        audit_statement("consent.revoked", now, client_id=client_id, owner=owner, address=address),
    )
