"""Signing up and in with a password, and the limits on guesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.protocol.secret import SESSION, Secret, generate_secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.limit import Limit, parse_limit
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.accounts import Session
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction

from .password import hash_password, password_problem, verify_password


class SignInRefused(Exception):
    """The sentence says why; ``retry_after`` in seconds where it is for the number of attempts."""

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class LoginContext:
    """Who tries: from which browser and which address."""

    browser: Secret
    address: str | None
    session: Secret | None = None  # the sign-in that this browser has already


def sign_in(email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """A new session for whoever knows the password.

    :raises SignInRefused: the same for an unknown address and for a wrong password.
    """
    email = email.strip().lower()
    account = accounts.find_by_email(runtime.store, email)
    spent = _charge_password_attempt(email, account.sub if account else None, login_context, runtime, now)
    good = verify_password(password, account.password_hash if account else None)
    if not good or account is None or account.disabled_at is not None:
        raise SignInRefused("The e-mail address or the password is wrong.")
    for key, limit in spent:
        runtime.limiter.refund_best_effort(key, limit)
    return start_session(account.sub, login_context, runtime, now)


def sign_up(name: str, email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """A new account, signed in.

    :raises SignInRefused: where the password is too weak, the address is taken, or too many were made.
    """
    email = email.strip().lower()
    problem = password_problem(password, email=email, name=name)
    if problem:
        raise SignInRefused(problem)
    charge_attempt(
        f"signup:{caller_network(login_context.address)}", parse_limit(runtime.settings.sign_up_limit), runtime, now
    )
    sub = create_account(runtime, name=name, email=email, password=password, address=login_context.address)
    return start_session(sub, login_context, runtime, now)


def create_account(
    runtime: Runtime,
    *,
    name: str,
    email: str,
    password: str,
    address: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """The ``sub`` of a new account; ``claims`` are standard ones (OpenID Connect Core §5.1).

    :raises SignInRefused: where the address has an account already.
    """
    sub, now = random_id(), runtime.clock()
    claim = accounts.add(sub, email.strip().lower(), name.strip(), hash_password(password), now, claims)
    if not runtime.write(Transaction(claim, (audit_statement("account.created", now, owner=sub, address=address),))):
        raise SignInRefused("There is an account with this e-mail address already.")
    return sub


def _charge_password_attempt(
    email: str, sub: str | None, login_context: LoginContext, runtime: Runtime, now: float
) -> list[tuple[str, Limit]]:
    """Charge a guess before the password is looked at; what was charged is given back when it was right.

    A browser that signed in to the account before has a limit of its own: nobody can lock the owner out, be it from
    everywhere or from behind the same address.
    """
    settings, network, browser = runtime.settings, caller_network(login_context.address), login_context.browser.digest()
    if sub is not None and accounts.has_session_from_browser(runtime.store, browser, sub):
        wanted = [(f"signin-browser|{browser.hex()}|{sub}", parse_limit(settings.sign_in_limit))]
    else:
        wanted = [
            (f"signin-address|{network}", parse_limit(settings.sign_in_address_limit)),
            (f"signin-pair|{network}|{email}", parse_limit(settings.sign_in_limit)),
            (f"signin-account|{email}", parse_limit(settings.sign_in_account_limit)),
        ]
    for key, limit in wanted:
        charge_attempt(key, limit, runtime, now)
    return wanted


def charge_attempt(key: str, limit: Limit, runtime: Runtime, now: float) -> None:
    """:raises SignInRefused: with the minutes to wait, where there were too many."""
    spent = runtime.limiter.spend(key, limit, now)
    if not spent.is_admitted:
        minutes = max(1, round(spent.retry_after / 60))
        unit = "minute" if minutes == 1 else "minutes"
        raise SignInRefused(f"Too many attempts. Please wait {minutes} {unit} and try again.", spent.retry_after)


def start_session(sub: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """The sign-in of somebody who has proved who they are."""
    secret = generate_secret(SESSION)
    sid, ended = _end_previous_session(sub, login_context, runtime, now)
    row = Session(
        secret.digest(),
        sub,
        login_context.browser.digest(),
        now,
        now + runtime.settings.session_lifetime,
        login_context.address,
        sid=sid,
    )
    started = audit_statement("session.started", now, owner=sub, address=login_context.address)
    runtime.write(Transaction(rows=(*ended, accounts.add_session(row), started)))
    return secret


def _end_previous_session(
    sub: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[str, tuple[BoundStatement, ...]]:
    """The ``sid`` of a new sign-in, and the end of the one before it in this browser.

    Whoever only proves anew who they are keeps theirs: no client is told of an end that is none.
    """
    found = (
        accounts.find_active_session(runtime.store, login_context.session.digest(), now)
        if login_context.session
        else None
    )
    if found is None:
        return random_id(), ()
    before, end = found[0], accounts.end_session(found[0].digest, now)
    if before.sub == sub:
        return before.sid, (end,)
    return random_id(), (end, *logout_statements(before.sub, before.sid, runtime, now, login_context.address))
