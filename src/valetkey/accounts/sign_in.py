"""Sign-up and sign-in with a password, and the rate limits for sign-up, sign-in and mail links."""

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
    """A sign-in, a sign-up, a change of password or a request for a mail link is refused.

    :param message: the reason, as a sentence for the user.
    :param retry_after: seconds to wait after too many attempts; 0 if the request was refused for another reason.
    """

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class LoginContext:
    """Where a sign-in comes from: the browser, its current session (``None`` if it has none), the network address."""

    browser: Secret  # of the cookie that identifies the browser
    address: str | None
    session: Secret | None = None  # of the session that this browser has already


def sign_in(email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Verify a user's password, start a session and return the session's secret.

    :raises SignInRefused: if the e-mail address is unknown, the account is disabled or the password is wrong, with the
        same message for all three; or if there were too many attempts.
    """
    email = email.strip().lower()
    account = accounts.find_by_email(runtime.store, email)
    charged = _charge_password_attempt(email, account.sub if account else None, login_context, runtime, now)
    is_correct = verify_password(password, account.password_hash if account else None)
    if not is_correct or account is None or account.disabled_at is not None:
        raise SignInRefused("The e-mail address or the password is wrong.")
    for key, limit in charged:
        runtime.limiter.refund_best_effort(key, limit)
    return start_session(account.sub, login_context, runtime, now)


def sign_up(name: str, email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Create an account, start a session and return the session's secret.

    :raises SignInRefused: if the password is too weak, the e-mail address has an account already, or too many accounts
        were created from the caller's network.
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
    """Create a built-in account and return its ``sub``, a random identifier.

    :param address: network address of the caller, for the audit log.
    :param claims: standard claims about the user, by name (OpenID Connect Core §5.1).
    :raises SignInRefused: if the e-mail address has an account already.
    """
    sub, now = random_id(), runtime.clock()
    insert = accounts.add(sub, email.strip().lower(), name.strip(), hash_password(password), now, claims)
    if not runtime.write(Transaction(insert, (audit_statement("account.created", now, owner=sub, address=address),))):
        raise SignInRefused("There is an account with this e-mail address already.")
    return sub


def _charge_password_attempt(
    email: str, sub: str | None, login_context: LoginContext, runtime: Runtime, now: float
) -> list[tuple[str, Limit]]:
    """Charge a sign-in attempt to its rate limits, before the password is verified.

    Return the charged counters with their limits, so that the caller can refund them if the password is correct.

    A browser that has signed in to the account before has its own limit, so that attempts by others, from many
    addresses or from the owner's own network, cannot lock the owner out.

    :param sub: the account's ``sub``; ``None`` if there is no account with this e-mail address.
    :raises SignInRefused: if there were too many attempts.
    """
    settings, network, browser = runtime.settings, caller_network(login_context.address), login_context.browser.digest()
    if sub is not None and accounts.has_session_from_browser(runtime.store, browser, sub):
        charges = [(f"signin-browser|{browser.hex()}|{sub}", parse_limit(settings.sign_in_limit))]
    else:
        charges = [
            (f"signin-address|{network}", parse_limit(settings.sign_in_address_limit)),
            (f"signin-pair|{network}|{email}", parse_limit(settings.sign_in_limit)),
            (f"signin-account|{email}", parse_limit(settings.sign_in_account_limit)),
        ]
    for key, limit in charges:
        charge_attempt(key, limit, runtime, now)
    return charges


def charge_attempt(key: str, limit: Limit, runtime: Runtime, now: float) -> None:
    """Count one attempt (a sign-in, a sign-up or a request for a mail link) against a rate limit.

    :param key: name of the counter, such as ``signin-account|ada@example.org``.
    :raises SignInRefused: if there were too many attempts; the message says how many minutes to wait.
    """
    result = runtime.limiter.spend(key, limit, now)
    if not result.is_admitted:
        minutes = max(1, round(result.retry_after / 60))
        unit = "minute" if minutes == 1 else "minutes"
        raise SignInRefused(f"Too many attempts. Please wait {minutes} {unit} and try again.", result.retry_after)


def start_session(sub: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Start a session for an authenticated user and return the session's secret.

    The session that the browser had before ends.
    """
    secret = generate_secret(SESSION)
    sid, end_statements = _end_previous_session(sub, login_context, runtime, now)
    session = Session(
        secret.digest(),
        sub,
        login_context.browser.digest(),
        now,
        now + runtime.settings.session_lifetime,
        login_context.address,
        sid=sid,
    )
    event = audit_statement("session.started", now, owner=sub, address=login_context.address)
    runtime.write(Transaction(rows=(*end_statements, accounts.add_session(session), event)))
    return secret


def _end_previous_session(
    sub: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[str, tuple[BoundStatement, ...]]:
    """Return the ``sid`` of the new session, and the SQL statements, not yet executed, that end the previous session.

    The previous session is the one this browser had, if any; without one there are no statements. If the same user
    signs in again, the ``sid`` stays the same and clients are not notified: for them the session goes on.
    """
    session_and_account = (
        accounts.find_active_session(runtime.store, login_context.session.digest(), now)
        if login_context.session
        else None
    )
    if session_and_account is None:
        return random_id(), ()
    previous = session_and_account[0]
    end = accounts.end_session(previous.digest, now)
    if previous.sub == sub:
        return previous.sid, (end,)
    return random_id(), (end, *logout_statements(previous.sub, previous.sid, runtime, now, login_context.address))
