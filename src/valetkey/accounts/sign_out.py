"""Sign-out: end sessions and notify the OAuth clients that support logout."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import frontchannel_logout_uris, logout_statements
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import sessions
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction


def sign_out(session: Secret, address: str | None, runtime: Runtime, now: float) -> tuple[str, ...]:
    """End a session and return the clients' URIs that the browser must load in frames (Front-Channel Logout §2).

    The result is empty if the session has ended already. Logout tokens for clients are sent by background jobs, so that
    the response does not wait for clients.

    :param session: secret of the session.
    :param address: network address of the caller, for the audit log.
    """
    session_and_account = sessions.find_active(runtime.store, session.digest(), now)
    if session_and_account is None:
        return ()
    sub, sid = session_and_account[0].sub, session_and_account[0].sid
    logouts = logout_statements(sub, sid, runtime, now, address)
    frame_uris = frontchannel_logout_uris(sub, sid, runtime, now)
    event = audit_statement("session.ended", now, owner=sub, address=address)
    runtime.store.write(Transaction(sessions.end(session.digest(), now), (event, *logouts)))
    return frame_uris


def sign_out_at_host(owner: Owner, address: str | None, runtime: Runtime, now: float) -> tuple[str, ...]:
    """Record a sign-out from the host app's own session; return the URIs that the browser must load, as ``sign_out``.

    Clients that got tokens in the session ``owner.sid`` are notified and their grants end. If ``owner.sid`` is
    ``None``, only the audit event is written and the result is empty. The host app ends the session itself.

    :param address: network address of the caller, for the audit log.
    """
    statements: tuple[BoundStatement, ...] = (audit_statement("session.ended", now, owner=owner.sub, address=address),)
    frame_uris: tuple[str, ...] = ()
    if owner.sid is not None:
        statements += logout_statements(owner.sub, owner.sid, runtime, now, address)
        frame_uris = frontchannel_logout_uris(owner.sub, owner.sid, runtime, now)
    runtime.store.write_all(*statements)
    return frame_uris


def end_all_sessions_statements(sub: str, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that end all sessions of an account and notify the OAuth clients."""
    logouts = [
        statement
        for session in sessions.list_active(runtime.store, sub, now)
        for statement in logout_statements(sub, session.sid, runtime, now, None)
    ]
    return sessions.end_all(sub, now), *logouts
