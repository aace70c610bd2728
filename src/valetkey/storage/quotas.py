"""Quota counters: the number of calls that a client has used in a day or month, one row for each quota and period.

One statement checks the quota and adds calls to the number.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Double, Executable, Text, bindparam, cast, select, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .tables import quotas


def _charge(insert: Any) -> Executable:
    amount, limit = (cast(bindparam(name), BigInteger) for name in ("slice", "most"))
    key_values = [
        cast(bindparam(name), sql_type)
        for name, sql_type in (("client_id", Text), ("quota", Text), ("begins_at", Double))
    ]
    first_row = select(*key_values, amount, cast(bindparam("ends_at"), Double)).where(amount <= limit)
    insert_row = insert(quotas).from_select(["client_id", "quota", "begins_at", "taken", "ends_at"], first_row)
    new_total = quotas.c.taken + amount
    statement: Executable = insert_row.on_conflict_do_update(
        index_elements=[quotas.c.client_id, quotas.c.quota, quotas.c.begins_at],
        set_={"taken": new_total},
        where=new_total <= limit,
    ).returning(quotas.c.taken)
    return statement


_OF_CLIENT_AND_PERIOD = (
    quotas.c.client_id == bindparam("of"),
    quotas.c.quota == bindparam("named"),
    quotas.c.begins_at == bindparam("since", type_=Double),
)
_CHARGE = Statement(_charge)
_FIND_CHARGED = Statement(select(quotas.c.taken).where(*_OF_CLIENT_AND_PERIOD))
_REFUND = Statement(
    update(quotas).where(*_OF_CLIENT_AND_PERIOD).values(taken=quotas.c.taken - bindparam("rest", type_=BigInteger))
)


def charge(
    store: Store, client_id: str, quota: str, period: tuple[float, float], amount: int, limit: int
) -> int | None:
    """Charge ``amount`` calls to a client's quota, all or nothing, and return the new total of the period.

    ``None`` if the total would exceed ``limit``; then nothing is charged. When this returns, the charge is durable.

    :param quota: unit of the quota, ``day`` or ``month``.
    :param period: begin and end of the quota's period (seconds since 1970).
    :param limit: number of calls that the quota allows in the period.
    :raises StoreUnavailable: if the store cannot be written.
    """
    begins_at, ends_at = period
    values = {"client_id": client_id, "quota": quota, "begins_at": begins_at, "ends_at": ends_at}
    row = store.fetch_one(_CHARGE(**values, slice=amount, most=limit))
    return int(row[0]) if row else None


def find_charged(store: Store, client_id: str, quota: str, begins_at: float) -> int:
    """Return the number of calls charged to a client's quota in the period that began at ``begins_at``, or 0."""
    row = store.fetch_one(_FIND_CHARGED(of=client_id, named=quota, since=begins_at))
    return int(row[0]) if row else 0


def refund(client_id: str, quota: str, begins_at: float, amount: int) -> BoundStatement:
    """Return the SQL statement, not yet run, that gives ``amount`` unused calls back to a client's quota.

    :param quota: unit of the quota, ``day`` or ``month``.
    :param begins_at: begin of the period that the calls were charged to (seconds since 1970).
    """
    return _REFUND(of=client_id, named=quota, since=begins_at, rest=amount)


def write_refunds(store: Store, rows: tuple[BoundStatement, ...]) -> None:
    """Give unused calls back to quotas, in one transaction.

    :param rows: statements that ``refund`` returned.
    :raises StoreUnavailable: if the store does not respond; if its ``may_be_written`` is true, it is unknown whether
        the calls were given back.
    """
    store.write(Transaction(rows=rows))
