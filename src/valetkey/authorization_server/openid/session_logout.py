"""The end of a sign-in: which clients hear of it, and what of theirs ends with it (OpenID Connect logout)."""

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
    """The logout tokens to send, and the end of what was given for this sign-in only.

    A client that takes part in logout loses the grants with ``openid`` and without ``offline_access`` (Back-Channel
    §2.7). An app that never heard of logout keeps its own: it was allowed to use an API, not to watch a sign-in.
    """
    visited = grants.list_client_ids_in_session(runtime.store, sid)
    taking_part = {client.client_id for client in _logout_clients(sid, runtime, now)}
    rows = [row for client_id in visited for row in _logout_token_statements(client_id, owner, sid, runtime, now)]
    for grant in grants.list_active_in_session(runtime.store, sid, now):
        scope = parse_scope(grant.scope)
        if grant.client_id in taking_part and "openid" in scope and "offline_access" not in scope:
            rows += revoke_grant_statements(runtime, grant, now, "grant.ended_with_session", address)
    return tuple(rows)


def owner_logout_statements(owner: str, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """The logout tokens of every sign-in of a person who is put out."""
    found = grants.list_client_sessions(runtime.store, owner)
    return tuple(
        row for client_id, sid in found for row in _logout_token_statements(client_id, owner, sid, runtime, now)
    )


def frontchannel_logout_uris(sid: str, runtime: Runtime, now: float) -> tuple[str, ...]:
    """The URIs that the browser must load (Front-Channel Logout §2, §3)."""
    return tuple(
        _frontchannel_logout_uri(client, sid, runtime)
        for client in _logout_clients(sid, runtime, now)
        if "frontchannel_logout_uri" in client.metadata
    )


def _logout_clients(sid: str, runtime: Runtime, now: float) -> Iterator[Client]:
    for client_id in grants.list_client_ids_in_session(runtime.store, sid):
        client = runtime.clients.find_cached(client_id, now)  # nobody who signs out waits for a document
        if client and {"backchannel_logout_uri", "frontchannel_logout_uri"} & client.metadata.keys():
            yield client


def _logout_token_statements(
    client_id: str, owner: str, sid: str | None, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """What has the worker tell a client; it finds out by itself what a document that is not at hand says."""
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
    told = urlencode({"iss": runtime.settings.issuer, "sid": sid})
    return f"{uri}{'&' if '?' in uri else '?'}{told}"
