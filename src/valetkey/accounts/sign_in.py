"""Sign-up and sign-in with a password, and the rate limits for sign-up, sign-in and mail links."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.protocol.display_name import describe_character
from valetkey.protocol.email_address import digest_email_address, is_email_address, normalize_email_address
from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.secret import SESSION, Secret, derive_secret, generate_secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import accounts, provider_links, sessions
from valetkey.storage.accounts import Account
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.sessions import Session
from valetkey.tokens.encryption import Cipher

from . import texts
from .login_context import LoginContext
from .password import verify_password
from .security_mail import new_browser_mail_statements


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
class ProviderAuthentication:
    """A sign-in at a provider, as the provider reports it.

    :param issuer: the provider's issuer identifier.
    :param subject: the user's id at the provider.
    :param auth_time: when the user signed in there, in seconds since 1970.
    :param acr: authentication context class; ``None`` if the provider does not say it.
    :param amr: authentication methods (RFC 8176).
    :param issuer_sid: id of the session at the provider, in its logout tokens; ``None`` if there is none.
    """

    issuer: str
    subject: str
    auth_time: float
    acr: str | None = None
    amr: tuple[str, ...] = ()
    issuer_sid: str | None = None


def sign_in(email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Verify a user's password, start a session and return the session's secret.

    :raises SignInRefused: if the e-mail address is unknown, the account is disabled or the password is wrong, with the
        same message for all three, unless the address has a character that no account's address has; or if there were
        too many attempts or sign-ins.
    """
    email = normalize_email_address(email)
    account = accounts.find_by_email(runtime.store, email)
    browser_was_used = account is not None and has_signed_in_from(account.sub, login_context, runtime.store)
    sub = account.sub if account else None
    charged = _charge_password_attempt(email, sub, login_context, runtime, now, browser_was_used=browser_was_used)
    is_correct = verify_password(password, account.password_hash if account else None)
    if not is_correct or account is None or account.disabled_at is not None:
        runtime.failures.record("sign_in.failed", now, network=caller_network(login_context.address), owner=sub)
        non_ascii = _describe_non_ascii(email) if account is None else None
        raise SignInRefused(non_ascii or texts.WRONG_EMAIL_OR_PASSWORD)
    for setting, *caller in charged:
        runtime.limits.refund(setting, *caller)
    charge_attempt(
        ("completed_sign_in_limit", account.sub), caller_network(login_context.address), runtime, now, owner=account.sub
    )
    # There is no mail about the first sign-in to an account that the operator has created.
    is_new_browser = account.signed_in_at is not None and not browser_was_used
    mail = new_browser_mail_statements(account.sub, login_context, runtime, now) if is_new_browser else ()
    return start_session(account, login_context, runtime, now, mail)


def require_email_address(text: str) -> str:
    """Return an e-mail address in the spelling under which it is stored, limited, verified and sent to.

    :raises SignInRefused: if the text is not exactly one e-mail address that mail can be sent to. The message names the
        first character outside ASCII.
    """
    email = normalize_email_address(text)
    if not is_email_address(email):
        raise SignInRefused(_describe_non_ascii(email) or texts.INVALID_EMAIL)
    return email


def _describe_non_ascii(email: str) -> str | None:
    """Return a sentence that names the first character of an address outside ASCII; ``None`` if there is none."""
    character = next((character for character in email if not character.isascii()), None)
    return character and texts.NON_ASCII_EMAIL.format(character=describe_character(character))


def _charge_password_attempt(
    email: str, sub: str | None, login_context: LoginContext, runtime: Runtime, now: float, *, browser_was_used: bool
) -> list[tuple[str, ...]]:
    """Charge a sign-in attempt to its rate limits, before the password is verified.

    Return what was charged, as ``charge_attempt`` takes it, so that it can be refunded if the password is correct.

    A browser that has signed in to the account before has its own limit, so that attempts by others, from many
    addresses or from the owner's own network, cannot lock the owner out.

    :param sub: the account's ``sub``; ``None`` if there is no account with this e-mail address.
    :raises SignInRefused: if there were too many attempts.
    """
    network, browser = caller_network(login_context.address), login_context.browser.digest()
    if browser_was_used:
        charges: list[tuple[str, ...]] = [("sign_in_limit", "browser", browser.hex(), sub or "")]
    else:
        typed = digest_email_address(email)
        charges = [
            ("sign_in_address_limit", network),
            ("sign_in_limit", "pair", network, typed),
            ("sign_in_account_limit", typed),
        ]
    for charge in charges:
        charge_attempt(charge, network, runtime, now, owner=sub)
    return charges


def charge_attempt(
    charge: tuple[str, ...], network: str, runtime: Runtime, now: float, *, owner: str | None = None
) -> None:
    """Count one attempt (a sign-in, a sign-up or a request for a mail link) against a rate limit.

    :param charge: name of the setting with the limit, then the parts of what is counted, such as the network.
    :param network: the caller's network, for the audit log.
    :param owner: the account's ``sub``, for the audit log; ``None`` if there is no account.
    :raises SignInRefused: if there were too many attempts; the message says how many minutes to wait.
    """
    try:
        runtime.limits.charge(*charge, now=now)
    except TooManyRequests as refusal:
        runtime.failures.record("limit.reached", now, network=network, owner=owner, detail=refusal.limit)
        minutes = max(1, round(refusal.retry_after / 60))
        unit = texts.MINUTE if minutes == 1 else texts.MINUTES
        message = texts.TOO_MANY_ATTEMPTS.format(minutes=minutes, unit=unit)
        raise SignInRefused(message, refusal.retry_after) from refusal


def has_signed_in_from(sub: str, login_context: LoginContext, store: Store) -> bool:
    """Return whether the account was signed in to from this browser before."""
    return sessions.has_session_from_browser(store, login_context.browser.digest(), sub)


def start_session(
    account: Account,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
    further_rows: tuple[BoundStatement, ...] = (),
    *,
    provider: ProviderAuthentication | None = None,
) -> Secret:
    """Start a session for an authenticated user and return the session's secret.

    The session that the browser had before ends.

    :param account: the user's account, as it was read before the user was authenticated.
    :param further_rows: SQL statements to execute in the same transaction, such as those that queue a mail.
    :param provider: the sign-in at a provider; ``None`` if a password was verified.
    :raises SignInRefused: if the account was disabled or got another password meanwhile, or was disconnected from the
        provider.
    """
    if provider is not None:
        login_context = replace(login_context, submission=None)  # it was submitted before the provider's page
    sub, secret = account.sub, _session_secret(account.sub, login_context, runtime.cipher)
    if login_context.submission is not None and _is_active_session(secret, sub, runtime.store, now):
        return secret
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
    condition = sessions.begin(session, account)
    rows = (accounts.set_signed_in(account, now), *end_statements, *further_rows)
    detail = None
    if provider is not None:
        detail = provider.issuer
        session = replace(
            session,
            auth_time=provider.auth_time,
            issuer=provider.issuer,
            subject=provider.subject,
            issuer_sid=provider.issuer_sid,
            acr=provider.acr,
            amr=to_json(provider.amr),
        )
        rows = (*rows, sessions.add(session))
        condition = provider_links.set_signed_in(provider.issuer, provider.subject, sub, now)
    event = audit_statement("session.started", now, owner=sub, address=login_context.address, detail=detail)
    if runtime.store.write(Transaction(condition, (*rows, event))):
        return secret
    if provider is not None:
        raise SignInRefused(texts.ACCOUNT_DISABLED)
    if login_context.submission is None:
        raise SignInRefused(texts.WRONG_EMAIL_OR_PASSWORD)
    if _is_active_session(secret, sub, runtime.store, now):  # the same form was submitted twice
        return secret
    return start_session(account, replace(login_context, submission=None), runtime, now, further_rows)


def _session_secret(sub: str, login_context: LoginContext, cipher: Cipher) -> Secret:
    """Return the secret of a new session: the same one each time that the same browser submits the same form."""
    if login_context.submission is None:
        return generate_secret(SESSION)
    parts = [login_context.submission, login_context.browser.reveal(), sub]
    return derive_secret(SESSION, cipher.compute_hmacs("session", to_json(parts))[0])


def _is_active_session(secret: Secret, sub: str, store: Store, now: float) -> bool:
    session_and_account = sessions.find_active(store, secret.digest(), now)
    return session_and_account is not None and session_and_account[0].sub == sub


def _end_previous_session(
    sub: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[str, tuple[BoundStatement, ...]]:
    """Return the ``sid`` of the new session, and the SQL statements, not yet executed, that end the previous session.

    The previous session is the one this browser had, if any; without one there are no statements. If the same user
    signs in again, the ``sid`` stays the same and clients are not notified: for them the session goes on.
    """
    session_and_account = (
        sessions.find_active(runtime.store, login_context.session.digest(), now) if login_context.session else None
    )
    if session_and_account is None:
        return random_id(), ()
    previous = session_and_account[0]
    end = sessions.end(previous.digest, now)
    if previous.sub == sub:
        return previous.sid, (end,)
    return random_id(), (end, *logout_statements(previous.sub, previous.sid, runtime, now, login_context.address))
