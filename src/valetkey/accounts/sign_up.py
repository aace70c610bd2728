"""Creation of built-in accounts, by their owners or by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.protocol.display_name import normalize_display_name
from valetkey.protocol.email_address import normalize_email_address
from valetkey.protocol.secret import Secret, derive_id, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction

from . import texts
from .errors import SignInRefused
from .login_context import LoginContext
from .password import hash_password, password_problem, verify_password
from .sessions import start_password_session
from .sign_in import charge_attempt, require_email_address


def sign_up(name: str, email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Create an account, start a session and return the session's secret.

    :raises SignInRefused: if the password is too weak, the e-mail address has an account already, or too many accounts
        were created from the caller's network.
    """
    email = normalize_email_address(email)
    problem = password_problem(password, email=email, name=name)
    if problem:
        raise SignInRefused(problem)
    network = caller_network(login_context.address)
    charge_attempt(("sign_up_limit", network), network, runtime, now)
    sub = _new_account_id(login_context)
    try:
        create_account(
            runtime.store, now, name=name, email=email, password=password, address=login_context.address, sub=sub
        )
    except SignInRefused:
        account = accounts.find(runtime.store, sub)  # by the same form, submitted twice
        if account is None or account.email != email or not verify_password(password, account.password_hash):
            raise
        runtime.limits.refund("sign_up_limit", network)
        return start_password_session(account, login_context, runtime, now)
    account = accounts.find(runtime.store, sub)
    if account is None:
        raise SignInRefused(texts.ACCOUNT_DELETED)
    return start_password_session(account, login_context, runtime, now)


def _new_account_id(login_context: LoginContext) -> str:
    """Return the ``sub`` of a new account: the same one each time that the same browser submits the same form."""
    if login_context.submission is None:
        return random_id()
    return derive_id("account", login_context.browser.reveal(), login_context.submission)


def create_account(
    store: Store,
    now: float,
    *,
    name: str,
    email: str,
    password: str,
    address: str | None = None,
    claims: Mapping[str, Any] | None = None,
    email_is_verified: bool = False,
    sub: str | None = None,
) -> str:
    """Create a built-in account and return its ``sub``, a random identifier.

    :param sub: the identifier, if the caller has generated it.
    :param address: network address of the caller, for the audit log.
    :param claims: claims about the user, by name (OpenID Connect Core §5.1), without ``email_verified``.
    :param email_is_verified: whether the caller has verified the e-mail address.
    :raises SignInRefused: if the e-mail address is not valid, or has an account already.
    """
    email = require_email_address(email)
    sub = sub or random_id()
    insert = accounts.add(sub, email, normalize_display_name(name), hash_password(password), now, claims)
    rows = [audit_statement("account.created", now, owner=sub, address=address)]
    if email_is_verified:
        rows.append(accounts.set_email_verified(sub, email, now))
    if not store.write(Transaction(insert, tuple(rows))):
        raise SignInRefused(texts.ACCOUNT_EXISTS)
    return sub
