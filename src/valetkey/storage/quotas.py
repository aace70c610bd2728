"""How much of a quota is taken in the period that runs: one row, moved by one statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Double, Executable, Text, bindparam, cast, select, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .engine.transaction import Transaction
from .tables import quotas


def _charge(insert: Any) -> Executable:
    slice_, most = (cast(bindparam(name), BigInteger) for name in ("slice", "most"))
    named = [
        cast(bindparam(name), kind) for name, kind in (("client_id", Text), ("quota", Text), ("begins_at", Double))
    ]
    rows = select(*named, slice_, cast(bindparam("ends_at"), Double)).where(slice_ <= most)
    made = insert(quotas).from_select(["client_id", "quota", "begins_at", "taken", "ends_at"], rows)
    moved = quotas.c.taken + slice_
    statement: Executable = made.on_conflict_do_update(
        index_elements=[quotas.c.client_id, quotas.c.quota, quotas.c.begins_at],
        set_={"taken": moved},
        where=moved <= most,
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
    """Take a slice, durably: all of it or nothing. Answers how much is taken then; None where it does not fit.

    :raises StoreUnavailable: where the store cannot be written.
    """
    begins_at, ends_at = period
    values = {"client_id": client_id, "quota": quota, "begins_at": begins_at, "ends_at": ends_at}
    row = store.fetch_one(_CHARGE(**values, slice=amount, most=limit))
    return int(row[0]) if row else None


def find_charged(store: Store, client_id: str, quota: str, begins_at: float) -> int:
    """How much is taken of the period that began then."""
    row = store.fetch_one(_FIND_CHARGED(of=client_id, named=quota, since=begins_at))
    return int(row[0]) if row else 0


def refund(client_id: str, quota: str, begins_at: float, amount: int) -> BoundStatement:
    return _REFUND(of=client_id, named=quota, since=begins_at, rest=amount)


def write_refunds(store: Store, rows: tuple[BoundStatement, ...]) -> None:
    """:raises StoreUnavailable: where nothing was given back."""
    store.write(Transaction(rows=rows))
