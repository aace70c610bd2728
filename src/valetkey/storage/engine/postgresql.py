"""PostgreSQL driver (psycopg 3). The statements of one batch share round trips by pipelining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .circuit_breaker import CircuitBreaker
from .statement import BoundStatement, sql_and_values
from .store import BUSY_TIMEOUT_S, Row
from .transaction import StoreBusy, StoreTimeout, StoreUnavailable, Transaction

_SESSION_SETTINGS = (
    "SET statement_timeout = '4s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'"
)
_TCP_USER_TIMEOUT_MS = 3000  # the connection is closed if the server acknowledges no data for this long


class PostgresqlDriver:
    """Driver for PostgreSQL: opens connections to one database.

    :param url: database URL; psycopg reads it, so it may have libpq parameters.
    """

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        # For a server that does not respond. One that is down refuses the connection at once.
        self._circuit_breaker = CircuitBreaker("the PostgreSQL database")

    def connect(self) -> PostgresqlConnection:
        """Open a connection.

        :raises StoreTimeout: if the server does not respond in time.
        :raises StoreUnavailable: if the driver is not installed, or the server cannot be reached.
        """
        try:
            import psycopg

            from .psycopg_timeout import AnswerTimeout, DeadlineConnection
        except ImportError as cause:
            raise StoreUnavailable(
                "the PostgreSQL driver is not installed: run pip install 'valetkey[postgresql]'"
            ) from cause
        self._circuit_breaker.check()
        try:
            raw = DeadlineConnection.connect(
                self.url, autocommit=True, connect_timeout=2, tcp_user_timeout=_TCP_USER_TIMEOUT_MS
            )
            raw.execute(_SESSION_SETTINGS)
        except psycopg.Error as cause:
            reason = _server_message(cause)
            message = f"the PostgreSQL database cannot be reached ({reason}): start it, or correct database_url"
            if isinstance(cause, (psycopg.errors.ConnectionTimeout, AnswerTimeout)):
                self._circuit_breaker.trip()
                raise StoreTimeout(message) from cause
            self._circuit_breaker.reset()
            raise StoreUnavailable(message) from cause
        self._circuit_breaker.reset()
        return PostgresqlConnection(raw, self._circuit_breaker)


def _server_message(cause: Exception) -> str:
    """Return the server's error message; the driver's own message may contain the URL with its password."""
    _, fatal, message = str(cause).partition("FATAL:")
    return message.strip().partition("\n")[0] if fatal else "no response"


class PostgresqlConnection:
    """A PostgreSQL connection with the methods of the protocol ``Connection``."""

    def __init__(self, raw: Any, circuit_breaker: CircuitBreaker) -> None:
        import psycopg

        from .psycopg_timeout import AnswerTimeout

        self.raw = raw
        self._circuit_breaker = circuit_breaker
        self._lock_timeout_s = BUSY_TIMEOUT_S
        self._deadlock_error = psycopg.errors.DeadlockDetected
        self._lock_timeout_error = psycopg.errors.LockNotAvailable
        self._answer_timeout_error = AnswerTimeout
        self._unavailable_errors = (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.UndefinedTable,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ReadOnlySqlTransaction,  # a standby after a failover
            psycopg.errors.IdleInTransactionSessionTimeout,
        )

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        sql, values = sql_and_values(statement, "postgresql")
        self._check_circuit_breaker()
        try:
            rows: list[Row] = self.raw.execute(sql, values).fetchall()
        except self._lock_timeout_error as cause:
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._unavailable_errors as cause:
            raise self._to_store_error(cause) from cause
        self._circuit_breaker.reset()
        return rows

    def run_transactions(self, transactions: Sequence[Transaction], timeout_s: float) -> list[bool]:
        self._check_circuit_breaker()
        try:
            self._set_lock_timeout(timeout_s)
            with self.raw.transaction():
                conditions = [each.condition for each in transactions if each.condition is not None]
                row_counts = iter(self._execute_all(conditions))
                results = [each.condition is None or next(row_counts) == 1 for each in transactions]
                self._execute_all(
                    [
                        statement
                        for transaction, condition_met in zip(transactions, results, strict=True)
                        for statement in (transaction.rows if condition_met else transaction.else_rows)
                    ]
                )
        except self._deadlock_error as cause:
            if len(transactions) > 1:
                raise  # rolled back: the store runs each transaction again on its own
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._lock_timeout_error as cause:  # rolled back
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._unavailable_errors as cause:
            raise self._to_store_error(cause) from cause
        self._circuit_breaker.reset()
        return results

    def _check_circuit_breaker(self) -> None:
        """Fail at once if the server has timed out within the last second.

        A closed connection is not checked: its next statement raises an error, and a new connection replaces it.

        :raises StoreTimeout: if the server has timed out and it is not time to try it again.
        """
        if self._circuit_breaker.retry_at is not None and not self.raw.closed:
            self._circuit_breaker.check()

    def _to_store_error(self, cause: Exception) -> StoreUnavailable:
        """Return the exception to raise for a psycopg error; a timeout opens the circuit breaker."""
        message = f"the PostgreSQL database failed: {cause}"
        if not isinstance(cause, self._answer_timeout_error):
            return StoreUnavailable(message)
        self._circuit_breaker.trip()
        return StoreTimeout(message)

    def _set_lock_timeout(self, timeout_s: float) -> None:
        if abs(timeout_s - self._lock_timeout_s) > 0.1:  # not for every write, as it costs another round trip
            self.raw.execute(f"SET lock_timeout = {int(timeout_s * 1000)}")
            self._lock_timeout_s = timeout_s

    def _execute_all(self, statements: Sequence[BoundStatement]) -> list[int]:
        """Run SQL statements and return how many rows each changed; all are sent before the first response is read."""
        if len(statements) < 2:
            return [self.raw.execute(*sql_and_values(statement, "postgresql")).rowcount for statement in statements]
        with self.raw.pipeline():
            cursors = [self.raw.execute(*sql_and_values(statement, "postgresql")) for statement in statements]
        return [cursor.rowcount for cursor in cursors]

    def close(self) -> None:
        self.raw.close()
