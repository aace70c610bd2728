"""Accounts by mail: signing up, another password for one that was forgotten, proof of an address.

Whoever asks is told the same whether or not there is an account, and in the same time: the answer is one row in the
outbox. The worker looks the account up, makes the link and mails it; only the link's digest is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valetkey.activity.audit import audit
from valetkey.outbound.mail import send_mail
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.secret import MAIL_LINK, Secret, is_well_formed, mint, random_id
from valetkey.rate_limiting.address import network_of
from valetkey.runtime import Runtime
from valetkey.storage import accounts, mail_links, outbox
from valetkey.storage.accounts import Account
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.transaction import Write
from valetkey.storage.mail_links import MailLink

from .password import hash_password, password_problem
from .sign_in import SignInRefused, Visitor, begin_session, spend
from .sign_out import all_sessions_end_rows

JOB = "account_mail"
SIGN_UP, RESET, VERIFY = "sign_up", "reset", "verify"
_OVER = "It was used already, or is too old. Sign in, or ask for another one there."

_MAILS: Mapping[str, tuple[str, str]] = {  # subject, and what the link does
    SIGN_UP: ("Your account at {site}", "Open this link to choose a password and create your account:"),
    RESET: ("A new password for {site}", "Open this link to choose a new password for your account:"),
    VERIFY: ("Confirm your e-mail address for {site}", "Open this link to confirm that this address is yours:"),
}


def ask_for_link(
    purpose: str, email: str, visitor: Visitor, runtime: Runtime, now: float, *, name: str = "", next_path: str = ""
) -> None:
    """Have a link mailed, where there is somebody to mail it to.

    :raises SignInRefused: where too many were asked for from this network; too many to one address are not told,
        for that would tell of an account.
    """
    email = email.strip().lower()
    spend(f"mail-address|{network_of(visitor.address)}", runtime.limits["mail_address_limit"], runtime, now)
    if not runtime.limiter.spend(f"mail|{email}", runtime.limits["mail_limit"], now).admitted:
        return
    asked = {"purpose": purpose, "email": email, "name": name.strip(), "next": next_path, "at": now}
    runtime.write(Write(rows=(outbox.add(JOB, asked, now),)))


def deliver(runtime: Runtime, asked: Mapping[str, Any]) -> None:
    """Make the link and mail it: a job of the worker's.

    :raises MailNotSent: to be tried again; the link that was not sent opens nothing, for nobody has it.
    """
    account = accounts.find_by_email(runtime.store, asked["email"])
    purpose = _purpose(asked["purpose"], account)
    now = runtime.clock()
    if purpose is None or now > asked["at"] + runtime.settings.mail_link_lifetime:
        return
    secret = mint(MAIL_LINK)
    link = MailLink(
        digest=secret.digest(),
        purpose=purpose,
        email=asked["email"],
        sub=account.sub if account else None,
        name=asked["name"],
        next=asked["next"],
        expires_at=now + runtime.settings.mail_link_lifetime,
    )
    runtime.write(Write(rows=(mail_links.ADD(link),)))
    subject, does = _MAILS[purpose]
    if asked["purpose"] == SIGN_UP and account is not None:
        does = "Somebody wanted to create an account with this address. You have one already. " + does
    text = (
        f"{does}\n\n{_link_url(runtime, secret)}\n\n"
        f"It works once, within {runtime.settings.mail_link_lifetime // 60} minutes. "
        "If you did not ask for it, do nothing: nobody can use it without this mail.\n"
    )
    send_mail(runtime.settings, asked["email"], subject.format(site=runtime.settings.name), text)


def find_link(sent: str, runtime: Runtime, now: float) -> MailLink:
    """:raises InvalidRequest: where the link is unknown, used or over."""
    found = mail_links.find(runtime.store, Secret(sent).digest(), now) if is_well_formed(sent, MAIL_LINK) else None
    if found is None:
        raise InvalidRequest(_OVER)
    return found


def choose_password(link: MailLink, password: str, visitor: Visitor, runtime: Runtime, now: float) -> Secret:
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
        _new_account(link, sub, hashed, visitor, now)
        if link.sub is None
        else _reset(sub, hashed, runtime, visitor, now)
    )
    done = (accounts.set_email_verified(sub, link.email, now), mail_links.end_all(link.email, now))
    if not runtime.write(Write(mail_links.use(link.digest, now), (*rows, *done))):
        raise InvalidRequest(_OVER)
    runtime.feed.expire()
    account = accounts.find(runtime.store, sub)
    if account is None or account.disabled_at is not None:  # another link made the account first, or it was put out
        raise InvalidRequest("There is an account with this e-mail address already. Sign in to it.")
    return begin_session(sub, visitor, runtime, now)


def verify(link: MailLink, address: str | None, runtime: Runtime, now: float) -> None:
    """Use a link up as the proof of an address.

    :raises InvalidRequest: where the link was used meanwhile.
    """
    assert link.sub is not None
    rows = (
        accounts.set_email_verified(link.sub, link.email, now),
        audit("account.email_verified", now, owner=link.sub, address=address),
    )
    if not runtime.write(Write(mail_links.use(link.digest, now), rows)):
        raise InvalidRequest(_OVER)


def _purpose(asked: str, account: Account | None) -> str | None:
    if account is None:
        return SIGN_UP if asked == SIGN_UP else None
    if account.disabled_at is not None:
        return None
    return VERIFY if asked == VERIFY else RESET


def _new_account(link: MailLink, sub: str, hashed: str, visitor: Visitor, now: float) -> tuple[Bound, ...]:
    added = accounts.add(sub, link.email, link.name or link.email.partition("@")[0], hashed, now)
    return added, audit("account.created", now, owner=sub, address=visitor.address)


def _reset(sub: str, hashed: str, runtime: Runtime, visitor: Visitor, now: float) -> tuple[Bound, ...]:
    changed = audit("account.password_changed", now, owner=sub, address=visitor.address)
    return accounts.set_password(sub, hashed), *all_sessions_end_rows(sub, runtime, now), changed


def _link_url(runtime: Runtime, secret: Secret) -> str:
    settings = runtime.settings
    return f"{settings.issuer}{settings.account_path or settings.oauth_path + '/account'}/mail/{secret.reveal()}"
