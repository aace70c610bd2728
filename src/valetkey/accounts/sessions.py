"""Start of sessions of built-in accounts, after a sign-in with a password or with a provider."""

from __future__ import annotations

from dataclasses import dataclass, replace

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.protocol.secret import SESSION, Secret, derive_secret, generate_secret, random_id
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
from .errors import SignInRefused
from .login_context import LoginContext


@dataclass(frozen=True, slots=True)
class ProviderAuthentication:
    """A sign-in at a provider, as the provider reports it.

    :param issuer: the provider's issuer identifier.
    :param subject: the user's id at the provider.
    :param auth_time: when the user signed in there, in seconds since 1970; ``None`` if the provider does not say it.
    :param acr: authentication context class; ``None`` if the provider does not say it.
    :param amr: authentication methods (RFC 8176).
    :param issuer_sid: id of the session at the provider, in its logout tokens; ``None`` if there is none.
    """

    issuer: str
    subject: str
    auth_time: float | None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    issuer_sid: str | None = None


def has_signed_in_from(sub: str, login_context: LoginContext, store: Store) -> bool:
    """Return whether the account was signed in to from this browser before."""
    return sessions.has_session_from_browser(store, login_context.browser.digest(), sub)


def start_password_session(
    account: Account,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
    further_rows: tuple[BoundStatement, ...] = (),
) -> Secret:
    """Start a session for a user whose password was verified, and return the session's secret.

    The session that the browser had before ends. If the same browser submitted the same form before, the session that
    was started then is returned.

    :param account: the user's account, as it was read before the password was verified.
    :param further_rows: SQL statements to execute in the same transaction, such as those that queue a mail.
    :raises SignInRefused: if the account was disabled or got another password meanwhile.
    """
    secret = _session_secret(account.sub, login_context, runtime.cipher)
    is_repeatable = login_context.submission is not None
    if is_repeatable and _is_active_session(secret, account.sub, runtime.store, now):
        return secret
    session, end_statements = _build_session(secret, account.sub, login_context, runtime, now)
    condition = sessions.begin(session, account)
    if _write_session(session, account, condition, (*end_statements, *further_rows), runtime.store):
        return secret
    if not is_repeatable:
        raise SignInRefused(texts.WRONG_EMAIL_OR_PASSWORD)
    if _is_active_session(secret, account.sub, runtime.store, now):  # the same form was submitted twice
        return secret
    return start_password_session(account, replace(login_context, submission=None), runtime, now, further_rows)


def start_provider_session(
    account: Account,
    authentication: ProviderAuthentication,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
    further_rows: tuple[BoundStatement, ...] = (),
) -> Secret:
    """Start a session for a user whom a provider authenticated, and return the session's secret.

    The session that the browser had before ends.

    :param account: the user's account, as it was read before.
    :param further_rows: SQL statements to execute in the same transaction, such as those that queue a mail.
    :raises SignInRefused: if the account was disabled, or disconnected from the provider, meanwhile.
    """
    secret = generate_secret(SESSION)
    session, end_statements = _build_session(secret, account.sub, login_context, runtime, now)
    session = replace(
        session,
        auth_time=authentication.auth_time,
        issuer=authentication.issuer,
        subject=authentication.subject,
        issuer_sid=authentication.issuer_sid,
        acr=authentication.acr,
        amr=to_json(authentication.amr),
    )
    condition = provider_links.set_signed_in(authentication.issuer, authentication.subject, account.sub, now)
    rows = (*end_statements, *further_rows, sessions.add(session))
    if not _write_session(session, account, condition, rows, runtime.store):
        raise SignInRefused(texts.ACCOUNT_DISABLED)
    return secret


def _build_session(
    secret: Secret, sub: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[Session, tuple[BoundStatement, ...]]:
    """Return a new session, and the SQL statements that end the previous one of the browser; nothing is stored yet."""
    sid, end_statements = _end_previous_session(sub, login_context, runtime, now)
    session = Session(
        digest=secret.digest(),
        sub=sub,
        browser=login_context.browser.digest(),
        began_at=now,
        auth_time=now,
        expires_at=now + runtime.settings.session_lifetime,
        address=login_context.address,
        sid=sid,
    )
    return session, end_statements


def _write_session(
    session: Session, account: Account, condition: BoundStatement, rows: tuple[BoundStatement, ...], store: Store
) -> bool:
    """Store a session, and record the sign-in; return whether the condition was met.

    :param condition: the statement that decides whether the session starts, and the first of the transaction.
    """
    now = session.began_at
    event = audit_statement("session.started", now, owner=account.sub, address=session.address, detail=session.issuer)
    return store.write(Transaction(condition, (accounts.set_signed_in(account, now), *rows, event)))


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
    signs in again, the ``sid`` stays the same and clients are not notified: for them the session continues.
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
