"""Account security: change the password, and sign out everywhere."""

from __future__ import annotations

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.authorization_server.end_owner import end_owner
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.protocol.secret import Secret
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links, sessions
from valetkey.storage.accounts import Account
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction

from . import texts
from .errors import SignInRefused
from .login_context import LoginContext
from .password import hash_password, password_problem, verify_password
from .security_mail import password_mail_statements
from .sign_in import charge_attempt
from .sign_out import end_all_sessions_statements


def change_password(
    sub: str,
    old_password: str,
    new_password: str,
    session: Secret,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> None:
    """Change the password of a built-in account, if the user knows the current password.

    All other sessions of the account end, and the links mailed to its e-mail address become invalid. If the same
    change was made before, nothing changes.

    :param sub: the account's ``sub``.
    :param session: secret of the browser's session, which stays active.
    :raises SignInRefused: if the old password is wrong, the new one is too weak, there were too many attempts, or the
        account does not exist any more.
    """
    account = accounts.find(runtime.store, sub)
    if account is None:
        raise SignInRefused(texts.ACCOUNT_DELETED)
    address = login_context.address
    charge, network = ("sign_in_limit", "password", sub), caller_network(address)
    charge_attempt(charge, network, runtime, now, owner=sub)
    current = session.digest()
    if not verify_password(old_password, account.password_hash):
        if _is_changed(account, new_password, current, runtime.store, now):  # by the same form, submitted twice
            return
        runtime.failures.record("password_change.failed", now, network=network, owner=sub)
        raise SignInRefused(texts.WRONG_CURRENT_PASSWORD)
    runtime.limits.refund(*charge)
    problem = password_problem(new_password, email=account.email or "", name=account.name)
    if problem:
        raise SignInRefused(problem)
    active_sessions = sessions.list_active(runtime.store, sub, now)
    other_sids = [row.sid for row in active_sessions if bytes(row.digest) != current]
    logouts = [statement for sid in other_sids for statement in logout_statements(sub, sid, runtime, now, address)]
    rows = (
        sessions.end_others(sub, current, now),
        *logouts,
        mail_links.invalidate_all(account.email, now),
        audit_statement("account.password_changed", now, owner=sub, address=address),
        *password_mail_statements(sub, login_context, runtime, now),
    )
    if not runtime.store.write(Transaction(accounts.replace_password(account, hash_password(new_password)), rows)):
        replaced = accounts.find(runtime.store, sub)
        if replaced is None or not _is_changed(replaced, new_password, current, runtime.store, now):
            raise SignInRefused(texts.WRONG_CURRENT_PASSWORD)


def _is_changed(account: Account, new_password: str, current: bytes, store: Store, now: float) -> bool:
    """Return whether the account has the new password already, and no other session than the current one."""
    active_sessions = sessions.list_active(store, account.sub, now)
    is_only_session = all(bytes(row.digest) == current for row in active_sessions)
    return is_only_session and verify_password(new_password, account.password_hash)


def sign_out_everywhere(sub: str, address: str | None, runtime: Runtime, now: float) -> None:
    """End all sessions of an account, including this browser's, and notify the OAuth clients that support logout.

    :param sub: the account's ``sub``.
    :param address: network address of the caller, for the audit log.
    """
    event = audit_statement("session.ended", now, owner=sub, address=address, detail="everywhere")
    runtime.store.write_all(*end_all_sessions_statements(sub, runtime, now), event)


def disable_account(sub: str, runtime: Runtime, now: float) -> None:
    """Disable an account: its owner cannot sign in, and its sessions, grants and tokens end."""
    _set_disabled(sub, now, "account.disabled", runtime, now)


def enable_account(sub: str, runtime: Runtime, now: float) -> None:
    """Enable a disabled account. What was created while it was being disabled ends: apps must request new tokens."""
    _set_disabled(sub, None, "account.enabled", runtime, now)


def _set_disabled(sub: str, disabled_at: float | None, event: AuditEvent, runtime: Runtime, now: float) -> None:
    end_owner(
        runtime,
        sub,
        now,
        accounts.set_disabled(sub, disabled_at),
        sessions.end_all(sub, now),
        audit_statement(event, now, owner=sub),
    )
