"""``Connection`` and ``Driver``: the interfaces that the store uses a database through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from .statement import BoundStatement
from .transaction import Transaction

BUSY_TIMEOUT_S = 2.0  # maximum time that a caller waits for a busy database, however many others wait
STATEMENT_TIMEOUT_S = 4  # PostgreSQL cancels a statement after this time, as a request waits for it
COMMAND_STATEMENT_TIMEOUT_S = 120  # the same for a command, which may read a large table
Row = tuple[Any, ...]


class Connection(Protocol):
    """A database connection. Every method raises ``StoreUnavailable`` if the database does not respond."""

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        """Run a query and return its rows."""
        ...

    def run_transactions(
        self, transactions: Sequence[Transaction], timeout_s: float, clock: Callable[[], float]
    ) -> list[bool]:
        """Run several transactions in one durable commit and return, for each, whether its condition was met.

        A transaction's condition is met if its SQL statement changed exactly one row, or if it has no condition.

        :param timeout_s: maximum time to wait for locks of other transactions, in seconds.
        :param clock: returns the value of ``WRITE_TIME`` in statements; called when the statement is run.
        :raises StoreBusy: if a lock is not released within ``timeout_s``.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Driver(Protocol):
    """A database driver; ``dialect`` is the name of the SQL dialect, ``sqlite`` or ``postgresql``.

    After ``statement_timeout_s``, PostgreSQL cancels a statement of a connection that is opened from now on. If
    ``closes_before_fork``, all connections must be closed before the process forks.
    """

    dialect: str
    statement_timeout_s: int
    closes_before_fork: bool

    def connect(self) -> Connection:
        """Open a connection.

        :raises StoreUnavailable: if the database cannot be reached or opened.
        """
        ...

    def close(self, connections: Iterable[Connection]) -> None:
        """Close all connections of this process, and release what they shared."""
        ...
