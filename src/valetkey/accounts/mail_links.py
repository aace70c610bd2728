"""Links that are sent by mail: to sign up, to reset a forgotten password, and to verify an e-mail address.

The response to a request for a link is the same, and takes the same time, whether or not there is an account: only a
row is added to the outbox, the table of background jobs. The worker process then looks the account up, generates the
link and mails it. Only the digest of the link's secret is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.protocol.display_name import normalize_display_name
from valetkey.protocol.email_address import digest_email_address, mailbox_of
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.secret import MAIL_LINK, Secret, generate_secret, is_well_formed, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import accounts, idempotency_keys, mail_links, outbox, provider_links
from valetkey.storage.accounts import Account
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink

from . import texts
from .errors import SignInRefused
from .login_context import LoginContext
from .password import hash_password, password_problem, verify_password
from .security_mail import password_mail_statements
from .sessions import start_password_session
from .sign_in import charge_attempt, require_email_address
from .sign_out import end_all_sessions_statements

ACCOUNT_MAIL_JOB = "account_mail"
SIGN_UP, RESET_PASSWORD, VERIFY_EMAIL = "sign_up", "reset", "verify"
# Within this time, the same form that is submitted again sends no mail. Later it does: the mail may not have arrived.
_SUBMISSION_S = 60.0

_MAIL_TEXTS: Mapping[str, tuple[str, str]] = {  # by purpose: the subject, and what the link does
    SIGN_UP: (texts.SIGN_UP_SUBJECT, texts.SIGN_UP_INSTRUCTION),
    RESET_PASSWORD: (texts.RESET_SUBJECT, texts.RESET_INSTRUCTION),
    VERIFY_EMAIL: (texts.VERIFY_SUBJECT, texts.VERIFY_INSTRUCTION),
}


def request_mail_link(
    purpose: str,
    email: str,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
    *,
    name: str = "",
    next_path: str = "",
    signed_in_as: str | None = None,
) -> None:
    """Add a background job (``deliver_mail_link``) that mails a link to an e-mail address.

    If too many links were requested for one mailbox (a tag after ``+`` does not count), the request is ignored without
    an error, unless a signed-in user requests one for the own address: an error would reveal that the address is in
    use. If the same browser submits the same form again within ``_SUBMISSION_S`` seconds, the request is ignored and
    not counted: its first submission sends the mail.

    :param purpose: what the link is for: ``SIGN_UP``, ``RESET_PASSWORD`` or ``VERIFY_EMAIL``.
    :param name: the user's name, for an account that the link creates; empty uses the part of the address before ``@``.
    :param next_path: local path to which the browser returns after the link was used; empty for no path.
    :param signed_in_as: ``sub`` of the account with the address, if the user is signed in to it, else ``None``.
    :raises SignInRefused: if the e-mail address is not valid, or too many links were requested from the caller's
        network or for the user's own address.
    """
    email, network = require_email_address(email), caller_network(login_context.address)
    submission = _digest_submission(purpose, email, login_context)
    if submission is not None and idempotency_keys.is_reserved(runtime.store, submission, now):
        return
    charge_attempt(("mail_address_limit", network), network, runtime, now)
    charge = ("mail_limit", "link", digest_email_address(mailbox_of(email)))
    if signed_in_as is not None:
        charge_attempt(charge, network, runtime, now, owner=signed_in_as)
    elif not runtime.limits.admits(*charge, now=now):
        runtime.failures.record("limit.reached", now, network=network, detail="mail_limit")
        return
    payload = {"purpose": purpose, "email": email, "name": normalize_display_name(name), "next": next_path, "at": now}
    condition = None if submission is None else _first_submission_condition(submission, now)
    if not runtime.store.write(Transaction(condition, (outbox.add(ACCOUNT_MAIL_JOB, payload, now),))):
        runtime.limits.refund("mail_address_limit", network)
        runtime.limits.refund(*charge)


def _digest_submission(purpose: str, email: str, login_context: LoginContext) -> bytes | None:
    """Return a digest that is the same if a form is submitted twice; ``None`` if the request has no ``submission``.

    A form in which the user has changed the e-mail address is another one.
    """
    if login_context.submission is None:
        return None
    parts = ["mail link", purpose, email, login_context.browser.reveal(), login_context.submission]
    return sha256(to_json(parts).encode()).digest()


def _first_submission_condition(submission: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that is met by the first submission only."""
    return idempotency_keys.reserve(
        submission, submission, now, abandoned_before=now - _SUBMISSION_S, expires_at=now + _SUBMISSION_S
    )


def deliver_mail_link(runtime: Runtime, payload: Mapping[str, Any], now: float) -> None:
    """Generate a link, store it and mail it. The worker process calls this for each job of ``request_mail_link``.

    No mail is sent if the purpose does not fit the account (see ``_effective_purpose``), or if the request is older
    than the lifetime of a link.

    :param payload: the job's data: ``purpose``, ``email``, ``name``, ``next``, and ``at``, the time of the request.
    :raises MailNotSent: if the mail server cannot be reached or refuses the mail. The worker tries again, with a new
        link; the link that was not sent is harmless, because its secret is lost.
    """
    from valetkey.outbound.mail import send_mail

    account = accounts.find_by_email(runtime.store, payload["email"])
    purpose = _effective_purpose(payload["purpose"], account)
    if purpose is None or now > payload["at"] + runtime.settings.mail_link_lifetime:
        return
    secret = generate_secret(MAIL_LINK)
    link = MailLink(
        digest=secret.digest(),
        purpose=purpose,
        email=payload["email"],
        sub=account.sub if account else None,
        name=payload["name"],
        next=payload["next"],
        expires_at=now + runtime.settings.mail_link_lifetime,
    )
    runtime.store.write(Transaction(rows=(mail_links.add(link),)))
    subject, instruction = _MAIL_TEXTS[purpose]
    if payload["purpose"] == SIGN_UP and account is not None:
        instruction = texts.SIGN_UP_FOR_EXISTING_ACCOUNT.format(instruction=instruction)
    minutes = runtime.settings.mail_link_lifetime // 60
    text = texts.LINK_MAIL.format(instruction=instruction, url=_link_url(runtime.settings, secret), minutes=minutes)
    send_mail(runtime.settings, payload["email"], subject.format(site=runtime.settings.name), text)


class LinkExpired(InvalidRequest):
    """A mailed link is unknown, used or expired.

    :ivar link: the link; ``None`` if it is unknown.
    """

    def __init__(self, link: MailLink | None) -> None:
        super().__init__(texts.LINK_EXPIRED)
        self.link = link


def get_link(value: str, store: Store, now: float, *, may_be_used: bool = False) -> MailLink:
    """Return the stored link whose secret is ``value``, the last part of the URL that was mailed.

    :param may_be_used: whether the link is also returned if it was used: for a form that is submitted twice.
    :raises LinkExpired: if the link is unknown, used or expired.
    """
    link = mail_links.find(store, Secret(value).digest()) if is_well_formed(value, MAIL_LINK) else None
    if link is None or link.expires_at <= now or (link.used_at is not None and not may_be_used):
        raise LinkExpired(link)
    return link


def set_password_with_link(
    link: MailLink, password: str, login_context: LoginContext, runtime: Runtime, now: float
) -> Secret:
    """Set the password of an account with a mailed link, start a session and return the session's secret.

    The account is created if the link is for a sign-up. Otherwise all earlier sessions of the account end. The link and
    all other links mailed to this e-mail address become invalid.

    If the link was used already, and the account has this password, nothing is set: the same form was submitted twice.

    :raises SignInRefused: if the password is too weak; the link stays valid.
    :raises InvalidRequest: if the link was used meanwhile, another link created an account with this e-mail address
        first, or the account was disabled, removed or got another address; then nothing changes.
    """
    problem = password_problem(password, email=link.email, name=link.name)
    if problem:
        raise SignInRefused(problem)
    sub = link.sub or random_id()
    password_hash = hash_password(password)
    account_statements = (
        _create_account_statements(link, sub, password_hash, login_context, now)
        if link.sub is None
        else _reset_password_statements(sub, password_hash, runtime, login_context, now)
    )
    email_statements = (
        accounts.set_email_verified(sub, link.email, now),
        mail_links.invalidate_all_if_account_exists(link.email, sub, now),
    )
    if not runtime.store.write(Transaction(mail_links.mark_used(link, now), (*account_statements, *email_statements))):
        return _start_session_again(link, password, login_context, runtime, now)
    account = accounts.find(runtime.store, sub)
    if account is None or account.disabled_at is not None:  # another link created an account first, or it was disabled
        raise InvalidRequest(texts.ACCOUNT_EXISTS_SIGN_IN)
    return start_password_session(account, login_context, runtime, now)


def _start_session_again(
    link: MailLink, password: str, login_context: LoginContext, runtime: Runtime, now: float
) -> Secret:
    """Start a session, or return the one that was started, after a form with a mailed link was submitted twice.

    :raises SignInRefused: if there were too many attempts.
    :raises InvalidRequest: if the account does not have this password, or is disabled.
    """
    account = accounts.find_by_email(runtime.store, link.email)
    if account is None or account.disabled_at is not None or link.sub not in (None, account.sub):
        raise LinkExpired(link)
    charge, network = ("sign_in_limit", "password", account.sub), caller_network(login_context.address)
    charge_attempt(charge, network, runtime, now, owner=account.sub)
    if not verify_password(password, account.password_hash):
        raise LinkExpired(link)
    runtime.limits.refund(*charge)
    return start_password_session(account, login_context, runtime, now)


def verify_email(link: MailLink, address: str | None, store: Store, now: float) -> None:
    """Mark the e-mail address of an account as verified, and the mailed link as used.

    If the address is verified already, nothing changes.

    :param link: a link that was mailed to an existing account (``link.sub`` is set).
    :param address: network address of the caller, for the audit log.
    :raises InvalidRequest: if the link was used meanwhile, or the account was disabled or got another address.
    """
    assert link.sub is not None
    rows = (
        accounts.set_email_verified(link.sub, link.email, now),
        audit_statement("account.email_verified", now, owner=link.sub, address=address),
    )
    if not store.write(Transaction(mail_links.mark_used(link, now), rows)) and not is_confirmed(link, store):
        raise LinkExpired(link)


def is_confirmed(link: MailLink, store: Store) -> bool:
    """Return whether the account of a mailed link has the address to which it was mailed, and has verified it."""
    account = accounts.find(store, link.sub) if link.sub else None
    return account is not None and account.email == link.email and account.email_verified_at is not None


def _effective_purpose(requested: str, account: Account | None) -> str | None:
    """Return what the mailed link will be for (such as ``RESET_PASSWORD``), or ``None`` if no mail is to be sent.

    If there is no account, a link can only be for a sign-up. If a sign-up is requested for an existing account, the
    link resets its password instead. A disabled account gets no mail.
    """
    if account is None:
        return SIGN_UP if requested == SIGN_UP else None
    if account.disabled_at is not None:
        return None
    return VERIFY_EMAIL if requested == VERIFY_EMAIL else RESET_PASSWORD


def _create_account_statements(
    link: MailLink, sub: str, password_hash: str, login_context: LoginContext, now: float
) -> tuple[BoundStatement, ...]:
    insert = accounts.add(sub, link.email, link.name or link.email.partition("@")[0], password_hash, now)
    return insert, audit_statement("account.created", now, owner=sub, address=login_context.address, created=sub)


def _reset_password_statements(
    sub: str, password_hash: str, runtime: Runtime, login_context: LoginContext, now: float
) -> tuple[BoundStatement, ...]:
    return (
        accounts.set_password(sub, password_hash),
        accounts.set_unreviewed(sub),
        provider_links.remove_all_of_account(sub),  # a previous user of the account may have added one
        *end_all_sessions_statements(sub, runtime, now),
        audit_statement("account.password_changed", now, owner=sub, address=login_context.address),
        *password_mail_statements(sub, login_context, runtime, now),
    )


def _link_url(settings: Settings, secret: Secret) -> str:
    return f"{settings.issuer}{settings.account_pages_path}/mail/{secret.reveal()}"
