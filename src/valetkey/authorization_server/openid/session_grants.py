"""Which grants end with a sign-in session, and which apps keep their access (Back-Channel Logout §2.7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from valetkey.authorization_server.connected_apps import client_name
from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.runtime import Runtime
from valetkey.storage import session_grants
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.grants import Grant


@dataclass(frozen=True, slots=True)
class AppsAtSignOut:
    """Names of the apps that lose their access when a user signs out, and of those that keep it.

    An app that has several grants may be in both.
    """

    ended: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


def list_apps_at_sign_out(owner: Owner, runtime: Runtime, now: float) -> AppsAtSignOut:
    """Return what happens to the apps of a user if the current session ends now."""
    sub, sid, ended = owner.sub, owner.sid, {}
    if sid is not None:
        client_ids = {client.client_id for client in find_logout_clients(sub, sid, runtime, now)}
        ended = {grant.grant_id: grant.client_id for grant in _list_ending(sub, sid, client_ids, runtime.store, now)}
    remaining = {
        grant.client_id
        for grant in session_grants.list_active_of_owner(runtime.store, owner.sub, now)
        if grant.grant_id not in ended
    }
    names = [
        tuple(sorted(client_name(client_id, runtime, now) for client_id in group))
        for group in ({*ended.values()}, remaining)
    ]
    return AppsAtSignOut(*names)


def find_logout_clients(owner: str, sid: str, runtime: Runtime, now: float) -> Iterator[Client]:
    """Yield the clients of a session that registered a logout URI. No metadata document is fetched."""
    for client_id in session_grants.count_by_client_in_session(runtime.store, owner, sid):
        client = runtime.clients.find_cached(client_id, now)  # no fetch: signing out must not wait for a document
        if client and {"backchannel_logout_uri", "frontchannel_logout_uri"} & client.metadata.keys():
            yield client


def end_grants_statements(
    owner: str, sid: str, client_ids: Collection[str], store: Store, now: float, address: str | None
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that revoke the grants of some clients that end with a session.

    :param client_ids: clients that are informed of the end of the session.
    :param address: the IP address of the request, for the audit log.
    """
    return tuple(
        statement
        for grant in _list_ending(owner, sid, client_ids, store, now)
        for statement in revoke_grant_statements(grant, now, "grant.ended_with_session", address)
    )


def _list_ending(owner: str, sid: str, client_ids: Collection[str], store: Store, now: float) -> list[Grant]:
    """Return the grants with ``openid`` and without ``offline_access`` (Back-Channel Logout §2.7)."""
    return [
        grant
        for grant in session_grants.list_active_in_session(store, owner, sid, now)
        if grant.client_id in client_ids and {"openid", "offline_access"} & parse_scope(grant.scope) == {"openid"}
    ]
