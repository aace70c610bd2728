"""A write transaction, which may depend on a condition, and the exceptions of database access."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from valetkey.protocol.unavailable import BackendUnavailable

if TYPE_CHECKING:
    from .statement import BoundStatement


SCHEMA_VERSION_TABLE = "valetkey_schema"  # written by Alembic; a database without it has no Valetkey tables


class StoreUnavailable(BackendUnavailable):
    """The database cannot be read or written now. No transaction was written in part.

    ``may_be_written`` is false if it is certain that the transaction was not written, so that it may be run again even
    if it adds to a number.
    """

    may_be_written = True


class DatabaseMissing(StoreUnavailable):
    """There is no SQLite file at the path of the database."""

    may_be_written = False


class NoTables(StoreUnavailable):
    """A table that a statement needs does not exist: ``valetkey init`` was not run for this database."""

    may_be_written = False


class ConnectionLost(StoreUnavailable):
    """The connection ended before the commit was requested: nothing was written."""

    may_be_written = False


class StoreBusy(StoreUnavailable):
    """Other transactions held a database lock for longer than the timeout. Nothing was written."""

    may_be_written = False


class StoreConflict(StoreBusy):
    """The database rolled a transaction back, and the same one may succeed if it is run again at once.

    Another transaction changed the same rows, or a prepared statement does not exist any more.
    """


class StoreTimeout(StoreUnavailable):
    """The database server received a request and did not respond in time.

    Trying again at once is not useful, as that would time out too.
    """


class StoreCircuitOpen(StoreTimeout):
    """The database server did not respond a moment ago. Nothing was sent to it now."""

    may_be_written = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """The SQL statements of one short write transaction.

    It is committed whether or not the condition is met, as the rows of a refused request must be durable too.

    :param condition: the statement that runs first and decides which of several concurrent transactions succeeds: the
        condition is met if the statement changes exactly one row. ``None`` counts as met.
    :param rows: statements to run if the condition is met.
    :param else_rows: statements to run if the condition is not met.
    :param is_independent: whether the result is the same if other independent transactions run between the condition
        and the rows. PostgreSQL runs the conditions of neighbouring independent transactions before their rows, which
        saves round trips; every other transaction runs as a whole. Only for frequent transactions, such as token
        requests, which were compared with each other: a sign-in beside a password reset is not independent.
    """

    condition: BoundStatement | None = None
    rows: tuple[BoundStatement, ...] = ()
    else_rows: tuple[BoundStatement, ...] = ()
    is_independent: bool = False

    def statements(self) -> Iterator[BoundStatement]:
        """Return all statements, those that will not be run included."""
        if self.condition is not None:
            yield self.condition
        yield from self.rows
        yield from self.else_rows
