"""Accounts by mail: signing up, another password for one that was forgotten, proof of an address.

Whoever asks is told the same whether or not there is an account, and in the same time: the answer is one row in the
outbox. The worker looks the account up, makes the link and mails it; only the link's digest is kept.
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

_MAIL_TEXTS: Mapping[str, tuple[str, str]] = {  # subject, and what the link does
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
    """Have a link mailed, where there is somebody to mail it to.

    :raises SignInRefused: where too many were asked for from this network; too many to one address are not told,
        for that would tell of an account.
    """
    email = email.strip().lower()
    charge_attempt(
        f"mail-address|{caller_network(login_context.address)}", runtime.limits["mail_address_limit"], runtime, now
    )
    if not runtime.limiter.spend(f"mail|{email}", runtime.limits["mail_limit"], now).is_admitted:
        return
    asked = {"purpose": purpose, "email": email, "name": name.strip(), "next": next_path, "at": now}
    runtime.write(Transaction(rows=(outbox.add(ACCOUNT_MAIL_JOB, asked, now),)))


def deliver_mail_link(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Make the link and mail it: a job of the worker's.

    :raises MailNotSent: to be tried again; the link that was not sent opens nothing, for nobody has it.
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
    subject, does = _MAIL_TEXTS[purpose]
    if payload["purpose"] == SIGN_UP and account is not None:
        does = "Somebody wanted to create an account with this address. You have one already. " + does
    text = (
        f"{does}\n\n{_link_url(runtime, secret)}\n\n"
        f"It works once, within {runtime.settings.mail_link_lifetime // 60} minutes. "
        "If you did not ask for it, do nothing: nobody can use it without this mail.\n"
    )
    send_mail(runtime.settings, payload["email"], subject.format(site=runtime.settings.name), text)


def get_link(value: str, runtime: Runtime, now: float) -> MailLink:
    """:raises InvalidRequest: where the link is unknown, used or over."""
    found = (
        mail_links.find_active(runtime.store, Secret(value).digest(), now) if is_well_formed(value, MAIL_LINK) else None
    )
    if found is None:
        raise InvalidRequest(_INVALID_LINK_MESSAGE)
    return found


def set_password_with_link(
    link: MailLink, password: str, login_context: LoginContext, runtime: Runtime, now: float
) -> Secret:
    """Use a link up for a new account, or for another password, and sign in; all sign-ins from before end.

    :raises SignInRefused: where the password is too weak. The link is still good then.
    :raises InvalidRequest: where the link was used meanwhile.
    """
    problem = password_problem(password, email=link.email, name=link.name)
    if problem:
        raise SignInRefused(problem)
    sub = link.sub or random_id()
    hashed = hash_password(password)
    rows = (
        _create_account_statements(link, sub, hashed, login_context, now)
        if link.sub is None
        else _reset_password_statements(sub, hashed, runtime, login_context, now)
    )
    done = (accounts.set_email_verified(sub, link.email, now), mail_links.invalidate_all(link.email, now))
    if not runtime.write(Transaction(mail_links.mark_used(link.digest, now), (*rows, *done))):
        raise InvalidRequest(_INVALID_LINK_MESSAGE)
    runtime.feed.invalidate()
    account = accounts.find(runtime.store, sub)
    if account is None or account.disabled_at is not None:  # another link made the account first, or it was put out
        raise InvalidRequest("There is an account with this e-mail address already. Sign in to it.")
    return start_session(sub, login_context, runtime, now)


def verify_email(link: MailLink, address: str | None, runtime: Runtime, now: float) -> None:
    """Use a link up as the proof of an address.

    :raises InvalidRequest: where the link was used meanwhile.
    """
    assert link.sub is not None
    rows = (
        accounts.set_email_verified(link.sub, link.email, now),
        audit_statement("account.email_verified", now, owner=link.sub, address=address),
    )
    if not runtime.write(Transaction(mail_links.mark_used(link.digest, now), rows)):
        raise InvalidRequest(_INVALID_LINK_MESSAGE)


def _effective_purpose(requested: str, account: Account | None) -> str | None:
    if account is None:
        return SIGN_UP if requested == SIGN_UP else None
    if account.disabled_at is not None:
        return None
    return VERIFY_EMAIL if requested == VERIFY_EMAIL else RESET_PASSWORD


def _create_account_statements(
    link: MailLink, sub: str, password_hash: str, login_context: LoginContext, now: float
) -> tuple[BoundStatement, ...]:
    added = accounts.add(sub, link.email, link.name or link.email.partition("@")[0], password_hash, now)
    return added, audit_statement("account.created", now, owner=sub, address=login_context.address)


def _reset_password_statements(
    sub: str, password_hash: str, runtime: Runtime, login_context: LoginContext, now: float
) -> tuple[BoundStatement, ...]:
    changed = audit_statement("account.password_changed", now, owner=sub, address=login_context.address)
    return accounts.set_password(sub, password_hash), *end_all_sessions_statements(sub, runtime, now), changed


def _link_url(runtime: Runtime, secret: Secret) -> str:
    settings = runtime.settings
    return f"{settings.issuer}{settings.account_path or settings.oauth_path + '/account'}/mail/{secret.reveal()}"
