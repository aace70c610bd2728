"""End of a user's session: notify the clients, and revoke some of their grants (OpenID Connect logout)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.protocol.scope import parse_scope
from valetkey.runtime import Runtime
from valetkey.storage import grants, outbox
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement

from .logout_token import LOGOUT_TOKEN_JOB, wants_logout_token


def logout_statements(
    owner: str, sid: str, runtime: Runtime, now: float, address: str | None
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, for the end of a session.

    They queue a logout token for each client of the session, and revoke some of the grants. For a client that
    registered a logout URI, grants with ``openid`` and without ``offline_access`` are revoked (Back-Channel Logout
    §2.7). The grants of other clients are not revoked: the user allowed them to use an API, which does not depend on
    the session.

    :param owner: the ``sub`` of the resource owner.
    :param sid: the id of the session that ends.
    :param address: the IP address of the request, for the audit log.
    """
    client_ids = grants.list_client_ids_in_session(runtime.store, sid)
    logout_client_ids = {client.client_id for client in _logout_clients(sid, runtime, now)}
    rows = [row for client_id in client_ids for row in _logout_token_statements(client_id, owner, sid, runtime, now)]
    for grant in grants.list_active_in_session(runtime.store, sid, now):
        scope = parse_scope(grant.scope)
        if grant.client_id in logout_client_ids and "openid" in scope and "offline_access" not in scope:
            rows += revoke_grant_statements(runtime, grant, now, "grant.ended_with_session", address)
    return tuple(rows)


def owner_logout_statements(owner: str, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that queue logout tokens for all sessions of an owner.

    They are used when the owner's account is disabled.
    """
    client_sessions = grants.list_client_sessions(runtime.store, owner)
    return tuple(
        row
        for client_id, sid in client_sessions
        for row in _logout_token_statements(client_id, owner, sid, runtime, now)
    )


def frontchannel_logout_uris(sid: str, runtime: Runtime, now: float) -> tuple[str, ...]:
    """Return the URIs that the browser must load to end a session at each client (Front-Channel Logout §2, §3).

    :param sid: the id of the session.
    """
    return tuple(
        _frontchannel_logout_uri(client, sid, runtime)
        for client in _logout_clients(sid, runtime, now)
        if "frontchannel_logout_uri" in client.metadata
    )


def _logout_clients(sid: str, runtime: Runtime, now: float) -> Iterator[Client]:
    for client_id in grants.list_client_ids_in_session(runtime.store, sid):
        client = runtime.clients.find_cached(client_id, now)  # no fetch: signing out must not wait for a document
        if client and {"backchannel_logout_uri", "frontchannel_logout_uri"} & client.metadata.keys():
            yield client


def _logout_token_statements(
    client_id: str, owner: str, sid: str | None, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement that queues a logout token for a client, or nothing if the client receives none.

    If the client's metadata document is not cached, the job is queued anyway: the worker fetches the document.
    """
    client = runtime.clients.find_cached(client_id, now)
    if client is None and not runtime.clients.uses_metadata_document(client_id, now):
        return ()
    if client is not None and not wants_logout_token(client, sid):
        return ()
    return (outbox.add(LOGOUT_TOKEN_JOB, {"client_id": client_id, "owner": owner, "sid": sid}, now),)


def _frontchannel_logout_uri(client: Client, sid: str, runtime: Runtime) -> str:
    uri = str(client.metadata["frontchannel_logout_uri"])
    if not client.metadata.get("frontchannel_logout_session_required", False):
        return uri
    query = urlencode({"iss": runtime.settings.issuer, "sid": sid})
    return f"{uri}{'&' if '?' in uri else '?'}{query}"
