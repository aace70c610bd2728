"""The audit log: security events with their time, client, resource owner and IP address."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from .engine.records import InsertStatement, columns_of
from .engine.statement import Statement
from .engine.store import Store
from .tables import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """The content of an audit log entry. A field is ``None`` if it is unknown or does not apply to the event.

    :param at: when the event happened (seconds since 1970).
    :param event: name of the event.
    :param owner: ``sub`` of the resource owner.
    :param address: IP address of the request that caused the event.
    """

    at: float
    event: str
    client_id: str | None = None
    owner: str | None = None
    grant_id: str | None = None
    address: str | None = None
    detail: str | None = None


add = InsertStatement(audit, AuditRow)
_COLUMNS = (audit.c.audit_id, *columns_of(audit, AuditRow))
_LIST_LATEST = Statement(select(*_COLUMNS).order_by(audit.c.audit_id.desc()).limit(bindparam("most")))
_LIST_AFTER = Statement(
    select(*_COLUMNS)
    .where(audit.c.audit_id > bindparam("after"), audit.c.at >= bindparam("since"))
    .order_by(audit.c.audit_id)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log with its id; ids increase in the order of writing."""

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
