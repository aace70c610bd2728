"""Authorization requests that were sent to providers at which users sign in, until the response comes back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from .engine.records import InsertStatement, columns_of
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import provider_requests


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """An authorization request to a provider. Times are seconds since 1970.

    :param digest: digest of the request's ``state``.
    :param browser: digest of the cookie that identifies the browser.
    :param sub: the account that the provider is to be connected to; ``None`` to sign in or sign up.
    :param next: local path to continue with.
    :param takes_address: 1 if the user's verified address is to be removed from an account that has not verified it, so
        that the user can have an account of their own; else 0.
    :param min_auth_time: the earliest acceptable ``auth_time`` of the ID token; ``None`` if any will do.
    """

    digest: bytes
    browser: bytes
    provider_id: str
    sub: str | None
    next: str
    min_auth_time: float | None
    takes_address: int
    begun_at: float
    expires_at: float
    used_at: float | None = None


add = InsertStatement(provider_requests, ProviderRequest)
_FIND = Statement(
    select(*columns_of(provider_requests, ProviderRequest)).where(provider_requests.c.digest == bindparam("digest"))
)
_MARK_USED = Statement(
    update(provider_requests)
    .where(
        provider_requests.c.digest == bindparam("wanted"),
        provider_requests.c.used_at.is_(None),
        provider_requests.c.expires_at > bindparam("now"),
    )
    .values(used_at=bindparam("now"))
)
_IN_BROWSER = provider_requests.c.browser == bindparam("of")
_REMOVE_ALL_BUT_NEWEST = Statement(
    delete(provider_requests).where(
        _IN_BROWSER,
        provider_requests.c.digest.not_in(
            select(provider_requests.c.digest)
            .where(_IN_BROWSER)
            .order_by(provider_requests.c.begun_at.desc())
            .limit(bindparam("most"))
        ),
    )
)


def find(store: Store, digest: bytes) -> ProviderRequest | None:
    """Return the request with this digest of its ``state``, also if it is used or expired; else ``None``."""
    row = store.fetch_one(_FIND(digest=digest))
    return ProviderRequest(bytes(row[0]), bytes(row[1]), *row[2:]) if row else None


def mark_used(digest: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that marks a request as answered.

    It succeeds once, and only before the request expires.
    """
    return _MARK_USED(wanted=digest, now=now)


def remove_all_but_newest(browser: bytes, limit: int) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a browser's older requests; the newest ``limit`` stay."""
    return _REMOVE_ALL_BUT_NEWEST(of=browser, most=limit)
