"""End of a user's session: notify the clients, and revoke some of their grants (OpenID Connect logout)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from valetkey.caches.clients import ClientCache
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import outbox, session_grants
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement

from .logout_token import LOGOUT_TOKEN_JOB, wants_logout_token
from .session_grants import end_grants_statements, find_logout_clients
from .subject import session_id_for_client

SESSION_LOGOUT_JOB = "session_logout"  # kind of the outbox job


def logout_statements(
    owner: str, sid: str, runtime: Runtime, now: float, address: str | None
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, for the end of a session.

    They queue a logout token for each client of the session, and revoke some of the grants. For a client that
    registered a logout URI, grants with ``openid`` and without ``offline_access`` are revoked (Back-Channel Logout
    §2.7). The grants of other clients are not revoked: the user allowed them to use an API, which does not depend on
    the session.

    Run them after the statement that ends the session, in the same transaction. If a client received a grant after this
    function read them, they queue a job that does the same again.

    :param owner: the ``sub`` of the resource owner.
    :param sid: the id of the session that ends.
    :param address: the IP address of the request, for the audit log.
    """
    client_ids = session_grants.count_by_client_in_session(runtime.store, owner, sid)
    check_again = session_grants.add_job_if_session_has_more_grants(
        owner, sid, sum(client_ids.values()), SESSION_LOGOUT_JOB, {"owner": owner, "sid": sid}, now
    )
    logout_client_ids = {client.client_id for client in find_logout_clients(owner, sid, runtime, now)}
    rows = [
        row for client_id in client_ids for row in _logout_token_statements(client_id, owner, sid, runtime.clients, now)
    ]
    return *rows, *end_grants_statements(owner, sid, logout_client_ids, runtime.store, now, address), check_again


def log_out_session(runtime: Runtime, payload: Mapping[str, Any], now: float) -> None:
    """Notify the clients of an ended session again, and revoke grants that were added while it was being ended.

    The background worker calls this function for each queued job of the kind ``SESSION_LOGOUT_JOB``. Clients that were
    notified before get a second logout token.

    :param payload: the job's data: ``owner`` (the ``sub`` of the resource owner) and ``sid`` (the id of the session).
    """
    runtime.store.write_all(*logout_statements(payload["owner"], payload["sid"], runtime, now, None))


def owner_logout_statements(owner: str, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that queue logout tokens for all sessions of an owner.

    They are used when the owner's account is disabled.
    """
    client_sessions = session_grants.list_client_sessions(runtime.store, owner)
    return tuple(
        row
        for client_id, sid in client_sessions
        for row in _logout_token_statements(client_id, owner, sid, runtime.clients, now)
    )


def frontchannel_logout_uris(owner: str, sid: str, runtime: Runtime, now: float) -> tuple[str, ...]:
    """Return the URIs that the browser must load to end a session at each client (Front-Channel Logout §2, §3).

    :param owner: the ``sub`` of the resource owner.
    :param sid: the id of the session.
    """
    return tuple(
        _frontchannel_logout_uri(client, session_id_for_client(sid, client, runtime.keys, now), runtime.settings)
        for client in find_logout_clients(owner, sid, runtime, now)
        if "frontchannel_logout_uri" in client.metadata
    )


def _logout_token_statements(
    client_id: str, owner: str, sid: str | None, client_cache: ClientCache, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement that queues a logout token for a client, or nothing if the client receives none.

    If the client's metadata document is not cached, the job is queued anyway: the worker fetches the document.
    """
    client = client_cache.find_cached(client_id, now)
    if client is None and not client_cache.uses_metadata_document(client_id, now):
        return ()
    if client is not None and not wants_logout_token(client, sid):
        return ()
    return (outbox.add(LOGOUT_TOKEN_JOB, {"client_id": client_id, "owner": owner, "sid": sid}, now),)


def _frontchannel_logout_uri(client: Client, sid: str, settings: Settings) -> str:
    uri = str(client.metadata["frontchannel_logout_uri"])
    if not client.metadata.get("frontchannel_logout_session_required", False):
        return uri
    query = urlencode({"iss": settings.issuer, "sid": sid})
    return f"{uri}{'&' if '?' in uri else '?'}{query}"
