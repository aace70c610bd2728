"""Links that were mailed to an address; whoever opens one reads that address."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from .engine.records import Insert, columns_of
from .engine.statement import Bound, Statement
from .engine.store import Store
from .tables import mail_links


@dataclass(frozen=True, slots=True)
class MailLink:
    digest: bytes
    purpose: str  # sign_up, reset or verify
    email: str
    sub: str | None
    name: str
    next: str
    expires_at: float
    used_at: float | None = None


ADD = Insert(mail_links, MailLink)
_LIVING = (mail_links.c.used_at.is_(None), mail_links.c.expires_at > bindparam("now"))
_FIND = Statement(select(*columns_of(mail_links, MailLink)).where(mail_links.c.digest == bindparam("digest"), *_LIVING))
_USE = Statement(
    update(mail_links).where(mail_links.c.digest == bindparam("wanted"), *_LIVING).values(used_at=bindparam("now"))
)
_END = Statement(
    update(mail_links)
    .where(mail_links.c.email == bindparam("to"), mail_links.c.used_at.is_(None))
    .values(used_at=bindparam("now"))
)


def find(store: Store, digest: bytes, now: float) -> MailLink | None:
    """A link that was not used and is not over."""
    row = store.one(_FIND(digest=digest, now=now))
    return MailLink(bytes(row[0]), *row[1:]) if row else None


def use(digest: bytes, now: float) -> Bound:
    """The claim on a link: won once, and only in time."""
    return _USE(wanted=digest, now=now)


def end_all(email: str, now: float) -> Bound:
    """No other link that went to this address opens anything any more."""
    return _END(to=email, now=now)
