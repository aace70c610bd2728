"""End all sessions, tokens and other credentials that the database remembers, for a database restored from a backup.

A backup does not know what was revoked, used or withdrawn after it was made, so nothing that it remembers may be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    LargeBinary,
    Table,
    bindparam,
    delete,
    null,
    select,
    true,
    update,
)

from .engine.statement import Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .tables import (
    access_tokens,
    codes,
    consents,
    device_codes,
    grants,
    initial_access_tokens,
    interactions,
    mail_links,
    outbox,
    personal_access_tokens,
    provider_links,
    provider_requests,
    refresh_tokens,
    registrations,
    retry_answers,
    sessions,
)

_ROWS_PER_BATCH = 1000  # in one statement: bounds how long it takes, and how long it blocks other writes
_NOW: BindParameter[float] = bindparam("now")


class _Ending:
    """The SQL statements that change or delete rows of a table, batch by batch in the order of its primary key.

    :param table: the table. If its primary key has several columns, all rows with one value of the first are in one
        batch.
    :param is_active: which rows to change; by default, all.
    :param changes: new values of columns; ``None`` deletes the rows.
    """

    def __init__(
        self, table: Table, is_active: ColumnElement[bool] | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        self._key: Column[Any] = next(iter(table.primary_key.columns))
        self._uses_now = changes is not None and any(value is _NOW for value in changes.values())
        change = delete(table) if changes is None else update(table).values(**changes)
        change = change.where(true() if is_active is None else is_active, self._key > bindparam("after"))
        self._last_of_batch = _last_of_batch_statement(self._key, _ROWS_PER_BATCH)
        self._change_batch = Statement(change.where(self._key <= bindparam("last")))
        self._change_rest = Statement(change)

    def run(self, store: Store, now: float) -> None:
        """Change or delete the rows, with a transaction for each batch. ``now`` is in seconds since 1970."""
        values = {"now": now} if self._uses_now else {}
        after: Any = b"" if isinstance(self._key.type, LargeBinary) else ""
        while (row := store.fetch_one(self._last_of_batch(after=after))) is not None:
            store.write(Transaction(rows=(self._change_batch(after=after, last=row[0], **values),)))
            after = row[0]
        store.write(Transaction(rows=(self._change_rest(after=after, **values),)))


def _last_of_batch_statement(key: Column[Any], row_count: int) -> Statement:
    """Return the SQL statement for the key of the last row in the next batch: none if fewer rows are left."""
    return Statement(select(key).where(key > bindparam("after")).order_by(key).offset(row_count - 1).limit(1))


# Sessions first: a browser that is signed in could start what the later statements end.
_ENDINGS = (
    _Ending(sessions, sessions.c.ended_at.is_(None), {"ended_at": _NOW}),  # not deleted: they identify known browsers
    _Ending(interactions),
    _Ending(provider_requests),
    _Ending(provider_links, provider_links.c.tokens.is_not(None), {"tokens": null()}),
    _Ending(mail_links),
    _Ending(consents),  # those that were withdrawn since are not known
    _Ending(initial_access_tokens),
    _Ending(registrations, changes={"digest": b""}),  # no token has this digest; the client remains
    _Ending(device_codes),
    _Ending(codes),
    _Ending(grants, grants.c.revoked_at.is_(None), {"revoked_at": _NOW}),
    _Ending(refresh_tokens),
    _Ending(retry_answers),
    _Ending(access_tokens),
    _Ending(personal_access_tokens, personal_access_tokens.c.revoked_at.is_(None), {"revoked_at": _NOW}),
)
_JOBS = _Ending(outbox)


def end_credentials(store: Store, now: float) -> None:
    """End all sessions, grants, consents, codes, links and tokens in the database, and drop queued jobs.

    Access tokens that are JWTs are not in the database: they end when the signing keys are replaced. Each batch of rows
    is a transaction of its own. If this fails, call it again.

    :param now: seconds since 1970.
    :raises StoreUnavailable: if the database does not respond.
    """
    for ending in _ENDINGS:
        ending.run(store, now)
    drop_jobs(store, now)


def drop_jobs(store: Store, now: float) -> None:
    """Delete queued mail and logout tokens: those of a backup were sent after it was made, or are out of date.

    :param now: seconds since 1970.
    :raises StoreUnavailable: if the database does not respond.
    """
    _JOBS.run(store, now)
