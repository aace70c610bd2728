"""Account security: change the password, and sign out everywhere."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links
from valetkey.storage.engine.transaction import Transaction

from .password import hash_password, password_problem, verify_password
from .sign_in import SignInRefused, charge_attempt
from .sign_out import end_all_sessions_statements


def change_password(
    sub: str, old_password: str, new_password: str, session: Secret, address: str | None, runtime: Runtime, now: float
) -> None:
    """Change the password of a built-in account, if the user knows the current password.

    All other sessions of the account end, and the links mailed to its e-mail address become invalid.

    :param sub: the account's ``sub``.
    :param session: secret of the browser's session, which stays active.
    :param address: network address of the caller, for the audit log.
    :raises SignInRefused: if the old password is wrong, the new one is too weak, there were too many attempts, or the
        account does not exist any more.
    """
    account = accounts.find(runtime.store, sub)
    if account is None:
        raise SignInRefused("This account is not there any more.")
    key, limit = f"password|{sub}", runtime.limits["sign_in_limit"]
    charge_attempt(key, limit, runtime, now)
    if not verify_password(old_password, account.password_hash):
        raise SignInRefused("The current password is wrong.")
    runtime.limiter.refund_best_effort(key, limit)
    problem = password_problem(new_password, email=account.email, name=account.name)
    if problem:
        raise SignInRefused(problem)
    current = session.digest()
    sessions = accounts.list_active_sessions(runtime.store, sub, now)
    other_sids = [row.sid for row in sessions if bytes(row.digest) != current]
    logouts = [statement for sid in other_sids for statement in logout_statements(sub, sid, runtime, now, address)]
    runtime.revoke(
        accounts.set_password(sub, hash_password(new_password)),
        accounts.end_other_sessions(sub, current, now),
        *logouts,
        mail_links.invalidate_all(account.email, now),
        audit_statement("account.password_changed", now, owner=sub, address=address),
    )


def sign_out_everywhere(sub: str, address: str | None, runtime: Runtime, now: float) -> None:
    """End all sessions of an account, including this browser's, and notify the OAuth clients that support logout.

    :param sub: the account's ``sub``.
    :param address: network address of the caller, for the audit log.
    """
    event = audit_statement("session.ended", now, owner=sub, address=address, detail="everywhere")
    runtime.store.write(Transaction(rows=(*end_all_sessions_statements(sub, runtime, now), event)))
    runtime.feed.invalidate()
