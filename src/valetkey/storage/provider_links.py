"""Links between users of providers and accounts: who can sign in to an account with which provider."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    Double,
    Executable,
    Integer,
    Select,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    null,
    or_,
    select,
    update,
)

from .accounts import lock
from .engine.records import InsertStatement, columns_of
from .engine.statement import WRITE_TIME, BoundStatement, Statement
from .engine.store import Store
from .leases import has_ended
from .tables import accounts, provider_disconnections, provider_links, sessions


@dataclass(frozen=True, slots=True)
class ProviderLink:
    """A user of a provider who can sign in to an account. Times are seconds since 1970.

    :param subject: the user's id at the provider, its claim ``sub``.
    :param issuer: the provider's issuer identifier.
    :param sub: the account's ``sub``.
    :param email: the e-mail address at the provider when the link was made; for display only.
    :param signed_in_at: the last sign-in; ``None`` if there was none.
    :param tokens: the provider's tokens, encrypted; ``None`` if they are not kept.
    """

    subject: str
    issuer: str
    sub: str
    email: str | None
    linked_at: float
    signed_in_at: float | None = None
    tokens: bytes | None = None


_COLUMNS = columns_of(provider_links, ProviderLink)
_IS_LINK = and_(provider_links.c.subject == bindparam("of_subject"), provider_links.c.issuer == bindparam("of_issuer"))
_ADD = InsertStatement(provider_links, ProviderLink, ignores_duplicates=True)


_VALUES = select(*(cast(bindparam(column.name), column.type) for column in _COLUMNS))
_IS_ENABLED = (accounts.c.sub == bindparam("of_account"), accounts.c.disabled_at.is_(None))


def _add_if(selected: Select[Any]) -> Statement:
    """Return the statement that adds the link of a select, which has no rows if the link may not be added."""

    def insert_or_ignore(dialect_insert: Any) -> Executable:
        insert = dialect_insert(provider_links).from_select([column.name for column in _COLUMNS], selected)
        statement: Executable = insert.on_conflict_do_nothing()
        return statement

    return Statement(insert_or_ignore)


_ADD_TO_VERIFIED = _add_if(
    _VALUES.where(
        exists().where(
            *_IS_ENABLED, accounts.c.email == bindparam("address"), accounts.c.email_verified_at.is_not(None)
        ),
        ~exists().where(
            provider_disconnections.c.sub == bindparam("of_account"),
            provider_disconnections.c.issuer == bindparam("issuer"),
            provider_disconnections.c.subject == bindparam("subject"),
        ),
    )
)
_ADD_IN_SESSION = _add_if(
    _VALUES.select_from(sessions)
    .where(
        sessions.c.digest == bindparam("session"),
        sessions.c.sub == bindparam("of_account"),
        sessions.c.ended_at.is_(None),
        sessions.c.expires_at > bindparam("now"),
        exists().where(*_IS_ENABLED),
    )
    .with_for_update(key_share=True, of=sessions)
)
_FIND = Statement(select(*_COLUMNS).where(_IS_LINK))
_LIST_OF_ACCOUNT = Statement(
    select(*_COLUMNS).where(provider_links.c.sub == bindparam("sub")).order_by(provider_links.c.linked_at)
)
_other_link = provider_links.alias("other_link")
_REMOVE = Statement(
    delete(provider_links).where(
        _IS_LINK,
        provider_links.c.sub == bindparam("of_account"),
        or_(
            exists().where(
                bindparam("password_counts", type_=Integer) == 1,
                accounts.c.sub == bindparam("of_account"),
                accounts.c.password_hash.is_not(None),
                accounts.c.email.is_not(None),  # a password is useful only together with an address
            ),
            exists().where(
                _other_link.c.sub == bindparam("of_account"), _other_link.c.issuer == bindparam("other_issuer")
            ),
        ),
    )
)
_REMOVE_ALWAYS = Statement(delete(provider_links).where(_IS_LINK, provider_links.c.sub == bindparam("of_account")))
_REMOVE_ALL_OF_ACCOUNT = Statement(delete(provider_links).where(provider_links.c.sub == bindparam("of_account")))
_REMOVE_WITHOUT_ACCOUNT = Statement(
    delete(provider_links).where(
        provider_links.c.sub == bindparam("of_account"), ~exists().where(accounts.c.sub == bindparam("of_account"))
    )
)
_SET_SIGNED_IN = Statement(
    update(provider_links)
    .where(
        _IS_LINK,
        provider_links.c.sub == bindparam("of_account"),
        exists().where(accounts.c.sub == bindparam("of_account"), accounts.c.disabled_at.is_(None)),
    )
    .values(signed_in_at=bindparam("moment"))
)


_SET_TOKENS = Statement(
    update(provider_links).where(_IS_LINK).values(tokens=bindparam("encrypted"), refreshing_until=null())
)
_REFRESH_DURATION_S = cast(bindparam("duration_s"), Double)
_BEGIN_REFRESH = Statement(
    update(provider_links)
    .where(
        _IS_LINK,
        provider_links.c.tokens == bindparam("seen"),
        or_(
            provider_links.c.refreshing_until.is_(None),
            has_ended(provider_links.c.refreshing_until, WRITE_TIME, _REFRESH_DURATION_S),
        ),
    )
    .values(refreshing_until=WRITE_TIME + _REFRESH_DURATION_S)
)
_END_REFRESH = Statement(
    update(provider_links)
    .where(_IS_LINK, provider_links.c.tokens == bindparam("seen"))
    .values(tokens=bindparam("encrypted"), refreshing_until=null())
)
_REMOVE_TOKENS = Statement(
    update(provider_links).where(provider_links.c.sub == bindparam("of_account")).values(tokens=null())
)


def add(link: ProviderLink) -> BoundStatement:
    """Return the SQL statement, to be run as a condition, that adds a link to an account that the transaction creates.

    It adds none if the user of the provider is linked to an account already, or the account to a user of the provider.
    """
    return _ADD(link)


def add_to_verified(link: ProviderLink, email: str) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a link as ``add`` does.

    It adds none if the account does not have this address any more, or has not verified it, or is disabled, or if the
    user of the provider was disconnected from it.
    """
    values = {**asdict(link), "of_account": link.sub, "address": email}
    return BoundStatement(_ADD_TO_VERIFIED, values, (lock(link.sub),))


def add_in_session(link: ProviderLink, session: bytes, now: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that adds a link as ``add`` does.

    It adds none if the session of the account has ended or expired, or if the account was removed or disabled. It locks
    account and session: a new password, which ends sessions and removes links, comes before it or sees the link.

    :param session: digest of the session's cookie.
    """
    values = {**asdict(link), "of_account": link.sub, "session": session, "now": now}
    return BoundStatement(_ADD_IN_SESSION, values, (lock(link.sub),))


def set_tokens(issuer: str, subject: str, tokens: bytes | None) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores the encrypted tokens of a link and ends a refresh.

    :param tokens: ``None`` removes them.
    """
    return _SET_TOKENS(of_subject=subject, of_issuer=issuer, encrypted=tokens)


def begin_refresh(link: ProviderLink, duration_s: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that reserves the refresh of tokens.

    It changes nothing if another process is refreshing them, or has done so after ``link`` was read.

    :param duration_s: seconds from the write after which another process may begin a refresh, if this one has not ended
        by then.
    """
    return _BEGIN_REFRESH(of_subject=link.subject, of_issuer=link.issuer, seen=link.tokens, duration_s=duration_s)


def end_refresh(link: ProviderLink, tokens: bytes | None) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that stores refreshed tokens.

    It changes nothing if there are other tokens than when ``link`` was read, because the user has signed in with the
    provider again, or none, because the access of the user has ended.

    :param tokens: ``None`` removes the tokens.
    """
    return _END_REFRESH(of_subject=link.subject, of_issuer=link.issuer, seen=link.tokens, encrypted=tokens)


def remove_tokens_of_account(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the stored tokens of an account's providers."""
    return _REMOVE_TOKENS(of_account=sub)


def find(store: Store, issuer: str, subject: str) -> ProviderLink | None:
    """Return the link of a user of a provider, or ``None`` if there is none."""
    row = store.fetch_one(_FIND(of_subject=subject, of_issuer=issuer))
    return _link(row) if row else None


def list_of_account(store: Store, sub: str) -> list[ProviderLink]:
    """Return the links of an account, oldest first."""
    return [_link(row) for row in store.fetch_all(_LIST_OF_ACCOUNT(sub=sub))]


def remove(link: ProviderLink, other_issuer: str, *, password_counts: bool) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that removes a link.

    It removes nothing if the owner could not sign in any more: if the account has no link to the other provider, and no
    password or no address. It locks the account, so that of two removals at once the second one sees the first.

    :param other_issuer: another provider that the account is linked to; empty for none.
    :param password_counts: whether users can sign in with a password.
    """
    values = {
        "of_subject": link.subject,
        "of_issuer": link.issuer,
        "of_account": link.sub,
        "other_issuer": other_issuer,
        "password_counts": int(password_counts),
    }
    return BoundStatement(_REMOVE, values, (lock(link.sub),))


def remove_always(link: ProviderLink) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that removes a link in any case.

    It may be the only way to sign in.
    """
    return _REMOVE_ALWAYS(of_subject=link.subject, of_issuer=link.issuer, of_account=link.sub)


def remove_all_of_account(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes all links of an account."""
    return _REMOVE_ALL_OF_ACCOUNT(of_account=sub)


def remove_without_account(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes the links of an account that does not exist.

    It undoes ``add``, if the same transaction could not create the account.
    """
    return _REMOVE_WITHOUT_ACCOUNT(of_account=sub)


def set_signed_in(issuer: str, subject: str, sub: str, signed_in_at: float) -> BoundStatement:
    """Return the SQL statement, to be run as a transaction's condition, that records a sign-in with a provider.

    It changes nothing if the link was removed, or the account was disabled. It locks the account before the link, as
    transactions do that end links: in the other order, the two could wait for each other.
    """
    values = {"of_subject": subject, "of_issuer": issuer, "of_account": sub, "moment": signed_in_at}
    return BoundStatement(_SET_SIGNED_IN, values, (lock(sub),))


def _link(row: Any) -> ProviderLink:
    link = ProviderLink(*row)
    return link if link.tokens is None else replace(link, tokens=bytes(link.tokens))
