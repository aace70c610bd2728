"""Links that are sent by mail: to sign up, to reset a forgotten password, and to verify an e-mail address.

The response to a request for a link is the same, and takes the same time, whether or not there is an account: only a
row is added to the outbox, the table of background jobs. The worker process then looks the account up, generates the
link and mails it. Only the digest of the link's secret is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.outbound.mail import send_mail
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.secret import MAIL_LINK, Secret, generate_secret, is_well_formed, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links, outbox
from valetkey.storage.accounts import Account
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.mail_links import MailLink

from .password import hash_password, password_problem
from .sign_in import LoginContext, SignInRefused, charge_attempt, start_session
from .sign_out import end_all_sessions_statements

ACCOUNT_MAIL_JOB = "account_mail"
SIGN_UP, RESET_PASSWORD, VERIFY_EMAIL = "sign_up", "reset", "verify"
_INVALID_LINK_MESSAGE = "It was used already, or is too old. Sign in, or ask for another one there."

_MAIL_TEXTS: Mapping[str, tuple[str, str]] = {  # by purpose: the subject, and what the link does
    SIGN_UP: ("Your account at {site}", "Open this link to choose a password and create your account:"),
    RESET_PASSWORD: ("A new password for {site}", "Open this link to choose a new password for your account:"),
    VERIFY_EMAIL: ("Confirm your e-mail address for {site}", "Open this link to confirm that this address is yours:"),
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
) -> None:
    """Add a background job (``deliver_mail_link``) that mails a link to an e-mail address.

    If too many links were requested for one e-mail address, the request is ignored without an error: an error would
    reveal that the address has an account.

    :param purpose: what the link is for: ``SIGN_UP``, ``RESET_PASSWORD`` or ``VERIFY_EMAIL``.
    :param name: the user's name, for an account that the link creates; empty uses the part of the address before ``@``.
    :param next_path: local path to which the browser returns after the link was used; empty for no path.
    :raises SignInRefused: if too many links were requested from the caller's network.
    """
    email = email.strip().lower()
    charge_attempt(
        f"mail-address|{caller_network(login_context.address)}", runtime.limits["mail_address_limit"], runtime, now
    )
    if not runtime.limiter.spend(f"mail|{email}", runtime.limits["mail_limit"], now).is_admitted:
        return
    payload = {"purpose": purpose, "email": email, "name": name.strip(), "next": next_path, "at": now}
    runtime.write(Transaction(rows=(outbox.add(ACCOUNT_MAIL_JOB, payload, now),)))


def deliver_mail_link(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Generate a link, store it and mail it. The worker process calls this for each job of ``request_mail_link``.

    No mail is sent if the purpose does not fit the account (see ``_effective_purpose``), or if the request is older
    than the lifetime of a link.

    :param payload: the job's data: ``purpose``, ``email``, ``name``, ``next``, and ``at``, the time of the request.
    :raises MailNotSent: if the mail server cannot be reached or refuses the mail. The worker tries again, with a new
        link; the link that was not sent is harmless, because its secret is lost.
    """
    account = accounts.find_by_email(runtime.store, payload["email"])
    purpose = _effective_purpose(payload["purpose"], account)
    now = runtime.clock()
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
    runtime.write(Transaction(rows=(mail_links.add(link),)))
    subject, instruction = _MAIL_TEXTS[purpose]
    if payload["purpose"] == SIGN_UP and account is not None:
        instruction = "Somebody wanted to create an account with this address. You have one already. " + instruction
    text = (
        f"{instruction}\n\n{_link_url(runtime, secret)}\n\n"
        f"It works once, within {runtime.settings.mail_link_lifetime // 60} minutes. "
        "If you did not ask for it, do nothing: nobody can use it without this mail.\n"
    )
    send_mail(runtime.settings, payload["email"], subject.format(site=runtime.settings.name), text)


def get_link(value: str, runtime: Runtime, now: float) -> MailLink:
    """Return the stored link whose secret is ``value``, the last part of the URL that was mailed.

    :raises InvalidRequest: if the link is unknown, used or expired.
    """
    link = (
        mail_links.find_active(runtime.store, Secret(value).digest(), now) if is_well_formed(value, MAIL_LINK) else None
    )
    if link is None:
        raise InvalidRequest(_INVALID_LINK_MESSAGE)
    return link


def set_password_with_link(
    link: MailLink, password: str, login_context: LoginContext, runtime: Runtime, now: float
) -> Secret:
    """Set the password of an account with a mailed link, start a session and return the session's secret.

    The account is created if the link is for a sign-up. Otherwise all earlier sessions of the account end. The link and
    all other links mailed to this e-mail address become invalid.

    :raises SignInRefused: if the password is too weak; the link stays valid.
    :raises InvalidRequest: if the link was used meanwhile, another link created an account with this e-mail address
        first, or the account was disabled.
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
    email_statements = (accounts.set_email_verified(sub, link.email, now), mail_links.invalidate_all(link.email, now))
    if not runtime.write(Transaction(mail_links.mark_used(link.digest, now), (*account_statements, *email_statements))):
        raise InvalidRequest(_INVALID_LINK_MESSAGE)
    runtime.feed.invalidate()
    account = accounts.find(runtime.store, sub)
    if account is None or account.disabled_at is not None:  # another link created an account first, or it was disabled
        raise InvalidRequest("There is an account with this e-mail address already. Sign in to it.")
    return start_session(sub, login_context, runtime, now)


def verify_email(link: MailLink, address: str | None, runtime: Runtime, now: float) -> None:
    """Mark the e-mail address of an account as verified, and the mailed link as used.

    :param link: a link that was mailed to an existing account (``link.sub`` is set).
    :param address: network address of the caller, for the audit log.
    :raises InvalidRequest: if the link was used meanwhile.
    """
    assert link.sub is not None
    rows = (
        accounts.set_email_verified(link.sub, link.email, now),
        audit_statement("account.email_verified", now, owner=link.sub, address=address),
    )
    if not runtime.write(Transaction(mail_links.mark_used(link.digest, now), rows)):
        raise InvalidRequest(_INVALID_LINK_MESSAGE)


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
    return insert, audit_statement("account.created", now, owner=sub, address=login_context.address)


def _reset_password_statements(
    sub: str, password_hash: str, runtime: Runtime, login_context: LoginContext, now: float
) -> tuple[BoundStatement, ...]:
    event = audit_statement("account.password_changed", now, owner=sub, address=login_context.address)
    return accounts.set_password(sub, password_hash), *end_all_sessions_statements(sub, runtime, now), event


def _link_url(runtime: Runtime, secret: Secret) -> str:
    settings = runtime.settings
    return f"{settings.issuer}{settings.account_path or settings.oauth_path + '/account'}/mail/{secret.reveal()}"
