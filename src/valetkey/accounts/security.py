"""What people do for the safety of their account: another password, and signing out everywhere."""

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
    """Set another password for whoever knows the old one; all other sign-ins and mailed links end.

    :raises SignInRefused: where the old password is wrong, the new one too weak, or too many were tried.
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
    kept = session.digest()
    others = [one for one in accounts.list_active_sessions(runtime.store, sub, now) if bytes(one.digest) != kept]
    told = [row for one in others for row in logout_statements(sub, one.sid, runtime, now, address)]
    runtime.revoke(
        accounts.set_password(sub, hash_password(new_password)),
        accounts.end_other_sessions(sub, kept, now),
        *told,
        mail_links.invalidate_all(account.email, now),
        audit_statement("account.password_changed", now, owner=sub, address=address),
    )


def sign_out_everywhere(sub: str, address: str | None, runtime: Runtime, now: float) -> None:
    """End all sign-ins of a person, in this browser too, and tell the apps that want to hear of it."""
    ended = audit_statement("session.ended", now, owner=sub, address=address, detail="everywhere")
    runtime.store.write(Transaction(rows=(*end_all_sessions_statements(sub, runtime, now), ended)))
    runtime.feed.invalidate()
