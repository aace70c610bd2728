"""A write transaction, which may depend on a condition, and the exceptions of database access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .statement import BoundStatement


class StoreUnavailable(Exception):
    """The database cannot be read or written now. No transaction was written in part."""

    retry_after = 2  # seconds


class StoreBusy(StoreUnavailable):
    """Other transactions held a database lock for longer than the timeout. Nothing was written."""


class StoreTimeout(StoreUnavailable):
    """The database server received a request and did not respond in time.

    Trying again at once is not useful, as that would time out too.
    """


@dataclass(frozen=True, slots=True)
class Transaction:
    """The SQL statements of one short write transaction.

    It is committed whether or not the condition is met, as the rows of a refused request must be durable too.

    :param condition: the statement that runs first and decides which of several concurrent transactions succeeds: the
        condition is met if the statement changes exactly one row. ``None`` counts as met.
    :param rows: statements to run if the condition is met.
    :param else_rows: statements to run if the condition is not met.
    """

    condition: BoundStatement | None = None
    rows: tuple[BoundStatement, ...] = ()
    else_rows: tuple[BoundStatement, ...] = ()
