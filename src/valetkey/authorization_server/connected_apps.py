"""Connected apps, i.e. the clients to which a resource owner has granted access: list them, and revoke one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.protocol.scope import parse_scope
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, consents, grants


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
    """Return the clients to which the owner has granted access, with the granted scopes and the last use."""
    descriptions: Mapping[str, str] = runtime.settings.known_scopes
    apps = []
    for app in consents.list_by_owner(runtime.store, owner):
        client = clients.find(runtime.store, app.consent.client_id, now)
        apps.append(
            ConnectedApp(
                app.consent.client_id,
                client.name
                if client
                else runtime.client_metadata_documents.find_cached_name(app.consent.client_id) or app.consent.client_id,
                tuple(descriptions.get(name, name) for name in sorted(parse_scope(app.consent.scope))),
                app.consent.first_granted_at,
                app.last_used_at,
                app.consent.address,
            )
        )
    return apps


def revoke_connected_app(owner: str, client_id: str, address: str | None, runtime: Runtime, now: float) -> None:
    """Revoke the owner's consent for a client, and all grants of the owner to the client.

    Every process rejects the tokens of these grants within a second.

    :param address: the IP address of the request, for the audit log.
    """
    runtime.revoke(
        consents.remove(owner, client_id),
        change_feed.add_for_unrevoked_grants(owner, client_id, now, runtime.revocation_expiry),
        grants.revoke_all_of_owner_and_client(owner, client_id, now),
        audit_statement("consent.revoked", now, client_id=client_id, owner=owner, address=address),
    )
