"""The audit log: security events with their time, client, resource owner and IP address.

An event is a row of its own. Failures that anyone can cause are counted: one row for each minute, event, client, owner
and network.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Executable, bindparam, cast, exists, insert, select

from .engine.records import InsertStatement, columns_of, to_json
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import accounts, audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """The content of an audit log entry. A field is ``None`` if it is unknown or does not apply to the event.

    :param at: when the event happened (seconds since 1970).
    :param event: name of the event.
    :param owner: ``sub`` of the resource owner.
    :param address: IP address of the request that caused the event; for a counted event, the network of the requests.
    :param count: how often a counted event happened in the minute that begins at ``at``; ``None`` for a single event.
    """

    at: float
    event: str
    client_id: str | None = None
    owner: str | None = None
    grant_id: str | None = None
    address: str | None = None
    detail: str | None = None
    count: int | None = None


add = InsertStatement(audit, AuditRow)
_COLUMNS_OF_ROW = columns_of(audit, AuditRow)
_ADD_IF_ACCOUNT_EXISTS = Statement(
    insert(audit).from_select(
        [column.name for column in _COLUMNS_OF_ROW],
        select(*(cast(bindparam(column.name), column.type) for column in _COLUMNS_OF_ROW)).where(
            exists().where(accounts.c.sub == bindparam("of_account"))
        ),
    )
)


def _add_count(dialect_insert: Any) -> Executable:
    names = [column.name for column in (*_COLUMNS_OF_ROW, audit.c.count_key)]
    insert_row = dialect_insert(audit).values({name: bindparam(name) for name in names})
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[audit.c.count_key], set_={"count": audit.c.count + insert_row.excluded.count}
    )
    return statement


_ADD_COUNT = Statement(_add_count)
_COLUMNS = (audit.c.audit_id, *_COLUMNS_OF_ROW)
_LIST_LATEST = Statement(select(*_COLUMNS).order_by(audit.c.audit_id.desc()).limit(bindparam("most")))
_LIST_AFTER = Statement(
    select(*_COLUMNS)
    .where(audit.c.audit_id > bindparam("after"), audit.c.at >= bindparam("since"))
    .order_by(audit.c.audit_id)
    .limit(bindparam("most"))
)
_LIST_COUNTED = Statement(
    select(*_COLUMNS)
    .where(audit.c.count.is_not(None), audit.c.at >= bindparam("since"))
    .order_by(audit.c.audit_id.desc())
    .limit(bindparam("most"))
)


def add_if_account_exists(row: AuditRow, sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds a row if there is an account with this ``sub``."""
    return BoundStatement(_ADD_IF_ACCOUNT_EXISTS, {**add(row).values, "of_account": sub})


def add_count(row: AuditRow) -> BoundStatement:
    """Return the SQL statement, not yet run, that adds ``row.count`` to the number of a counted event.

    If there is no row with the same time, event, client, owner, address and detail, it is added.
    """
    key = [row.at, row.event, row.client_id, row.owner, row.grant_id, row.address, row.detail]
    return BoundStatement(_ADD_COUNT, {**add(row).values, "count_key": sha256(to_json(key).encode()).digest()})


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log with its id.

    Ids increase in the order in which entries are written. On PostgreSQL, an entry can be read only when its
    transaction has committed, perhaps after entries with higher ids.
    """

    audit_id: int
    row: AuditRow


def list_latest(store: Store, limit: int) -> list[AuditEntry]:
    """Return the newest ``limit`` entries of the audit log; the oldest of them comes first."""
    return [AuditEntry(row[0], AuditRow(*row[1:])) for row in reversed(store.fetch_all(_LIST_LATEST(most=limit)))]


def list_after(store: Store, audit_id: int, limit: int, *, since: float = 0.0) -> list[AuditEntry]:
    """Return up to ``limit`` entries of the audit log with a higher id than ``audit_id``, oldest first.

    :param since: leave out entries from before this time (seconds since 1970).
    """
    return [
        AuditEntry(row[0], AuditRow(*row[1:]))
        for row in store.fetch_all(_LIST_AFTER(after=audit_id, since=since, most=limit))
    ]


def list_counted(store: Store, since: float, limit: int) -> list[AuditEntry]:
    """Return the newest ``limit`` entries of counted events since a time (seconds since 1970), oldest first."""
    rows = store.fetch_all(_LIST_COUNTED(since=since, most=limit))
    return [AuditEntry(row[0], AuditRow(*row[1:])) for row in reversed(rows)]
