"""Signing out: the end of a sign-in, told to every client that wants to hear of it."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import frontchannel_logout_uris, logout_statements
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction


def sign_out(session: Secret, address: str | None, runtime: Runtime, now: float) -> tuple[str, ...]:
    """End a sign-in; the answer is the URIs that the browser must load (Front-Channel Logout §2).

    Nobody waits for a client: its logout token is in the outbox.
    """
    found = accounts.find_active_session(runtime.store, session.digest(), now)
    if found is None:
        return ()
    sub, sid = found[0].sub, found[0].sid
    rows = logout_statements(sub, sid, runtime, now, address)
    frames = frontchannel_logout_uris(sid, runtime, now)
    event = audit_statement("session.ended", now, owner=sub, address=address)
    runtime.write(Transaction(accounts.end_session(session.digest(), now), (event, *rows)))
    runtime.feed.invalidate()
    return frames


def sign_out_at_host(owner: Owner, address: str | None, runtime: Runtime, now: float) -> tuple[str, ...]:
    """End a sign-in that the host keeps; what was given in it is known by the ``sid`` that its ``Owner`` has."""
    rows: tuple[BoundStatement, ...] = (audit_statement("session.ended", now, owner=owner.sub, address=address),)
    frames: tuple[str, ...] = ()
    if owner.sid is not None:
        rows += logout_statements(owner.sub, owner.sid, runtime, now, address)
        frames = frontchannel_logout_uris(owner.sid, runtime, now)
    runtime.revoke(*rows)
    return frames


def end_all_sessions_statements(sub: str, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """The end of every sign-in of a person, told to the clients."""
    ended = [
        row
        for session in accounts.list_active_sessions(runtime.store, sub, now)
        for row in logout_statements(sub, session.sid, runtime, now, None)
    ]
    return accounts.end_sessions(sub, now), *ended
