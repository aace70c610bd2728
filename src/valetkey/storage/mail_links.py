"""Links sent by mail: opening one proves that the user receives mail at that address."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, or_, select, update

from .accounts import lock
from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import accounts, mail_links


@dataclass(frozen=True, slots=True)
class MailLink:
    """A link that was sent by mail. Times are seconds since 1970; ``digest`` is that of the secret in the link."""

    digest: bytes
    purpose: str  # sign_up, reset or verify
    email: str
    sub: str | None  # ``None`` for sign_up: there is no account yet
    name: str
    next: str  # local path to continue with
    expires_at: float
    used_at: float | None = None


add = InsertStatement(mail_links, MailLink)
_IS_ACTIVE = (mail_links.c.used_at.is_(None), mail_links.c.expires_at > bindparam("now"))
_FIND = Statement(select(*columns_of(mail_links, MailLink)).where(mail_links.c.digest == bindparam("digest")))
_MARK_USED = Statement(
    update(mail_links)
    .where(
        mail_links.c.digest == bindparam("wanted"),
        *_IS_ACTIVE,
        or_(
            mail_links.c.sub.is_(None),
            exists().where(
                accounts.c.sub == mail_links.c.sub,
                accounts.c.email == mail_links.c.email,
                accounts.c.disabled_at.is_(None),
            ),
        ),
    )
    .values(used_at=bindparam("now"))
)
_INVALIDATE_ALL = Statement(
    update(mail_links)
    .where(mail_links.c.email == bindparam("to"), mail_links.c.used_at.is_(None))
    .values(used_at=bindparam("now"))
)
_INVALIDATE_ALL_IF_ACCOUNT_EXISTS = Statement(
    update(mail_links)
    .where(
        mail_links.c.email == bindparam("to"),
        mail_links.c.used_at.is_(None),
        exists().where(accounts.c.sub == bindparam("of_account")),
    )
    .values(used_at=bindparam("now"))
)
_INVALIDATE_ALL_OF_ACCOUNT = Statement(
    update(mail_links)
    .where(mail_links.c.sub == bindparam("of_account"), mail_links.c.used_at.is_(None))
    .values(used_at=bindparam("now"))
)


def find(store: Store, digest: bytes) -> MailLink | None:
    """Return the mail link whose secret has this digest, also if it was used or has expired, or ``None``."""
    row = store.fetch_one(_FIND(digest=digest))
    return MailLink(bytes(row[0]), *row[1:]) if row else None


def mark_used(link: MailLink, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks a mail link as used.

    It succeeds once, and only before the link expires. If the link is for an account, the account must have the address
    to which the link was mailed, and be enabled.
    """
    locks = () if link.sub is None else (lock(link.sub),)
    return BoundStatement(_MARK_USED, {"wanted": link.digest, "now": now}, locks)


def invalidate_all(email: str | None, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that invalidates all unused mail links sent to an address.

    They are marked as used.

    :param email: ``None``, the address of an account without one, invalidates none.
    """
    return _INVALIDATE_ALL(to=email, now=now)


def invalidate_all_if_account_exists(email: str, sub: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that does the same if there is an account with this ``sub``.

    It is for a transaction that creates the account, unless another one has the address.
    """
    return _INVALIDATE_ALL_IF_ACCOUNT_EXISTS(to=email, of_account=sub, now=now)


def invalidate_all_of_account(sub: str, now: float) -> BoundStatement:
    """Return the SQL statement, not yet run, that invalidates all unused mail links that were sent for an account."""
    return _INVALIDATE_ALL_OF_ACCOUNT(of_account=sub, now=now)
