"""PostgreSQL driver (psycopg 3). The statements of one batch share round trips by pipelining."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any, Literal

from .circuit_breaker import CircuitBreaker
from .connection import BUSY_TIMEOUT_S, STATEMENT_TIMEOUT_S, Connection, Row
from .pooler import has_pooler, shares_sessions
from .postgresql_problem import describe_connection_problem
from .postgresql_url import connection_parameters, has_several_hosts
from .statement import BoundStatement, sql_and_values
from .transaction import ConnectionLost, NoTables, StoreBusy, StoreConflict, StoreTimeout, StoreUnavailable, Transaction

_SESSION_SETTINGS = (
    "SET statement_timeout = '{}s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'"
)
_TRANSACTION_SETTINGS = (  # as SET LOCAL, but with a parameter
    "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true), "
    "set_config('idle_in_transaction_session_timeout', '5s', true)"
)
_TCP_USER_TIMEOUT_MS = 3000  # the connection is closed if the server acknowledges no data for this long
_has_no_connection_left = re.compile("too many clients|connection slots are reserved").search
_FREE_CONNECTIONS = "raise its max_connections, or lower database_connections"
# Warnings about connections that are lost anyway: without a handler, Python prints them to stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
PoolMode = Literal["transaction", "unknown"] | None  # "unknown": session, or transaction with many idle sessions


class PostgresqlDriver:
    """Driver for PostgreSQL: opens connections to one database.

    :param url: database URL; psycopg reads it, so it may have libpq parameters.
    :param pooler: "transaction" if a connection pooler may use another session of the database for each transaction, as
        PgBouncer with ``pool_mode = transaction`` does; "session" if each connection is a session; "auto" to find out.
    """

    dialect = "postgresql"
    closes_before_fork = False  # a child opens its own, and does not use those of its parent

    def __init__(self, url: str, *, pooler: str = "auto") -> None:
        self._url = url
        self.statement_timeout_s = STATEMENT_TIMEOUT_S
        self._pooler = pooler
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
        parameters = connection_parameters(self._url)
        try:
            raw = DeadlineConnection.connect(
                **{**parameters, "connect_timeout": 2, "tcp_user_timeout": _TCP_USER_TIMEOUT_MS}, autocommit=True
            )
            raw.extra_answer_time_s = self.statement_timeout_s - STATEMENT_TIMEOUT_S
            # The statements are written for it: after the wait for a lock they read what was committed meanwhile.
            raw.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
            is_session = self._pooler == "session" or (self._pooler == "auto" and not has_pooler(raw))
            if is_session:
                raw.execute(_SESSION_SETTINGS.format(self.statement_timeout_s))
        except psycopg.Error as cause:
            reason = describe_connection_problem(cause, has_several_hosts=has_several_hosts(parameters))
            advice = _FREE_CONNECTIONS if _has_no_connection_left(reason) else "start it, or correct database_url"
            message = f"the PostgreSQL database cannot be reached ({reason}): {advice}"
            if isinstance(cause, (psycopg.errors.ConnectionTimeout, AnswerTimeout)):
                self._circuit_breaker.trip()
                raise StoreTimeout(message) from cause
            self._circuit_breaker.reset()
            raise StoreUnavailable(message) from cause
        self._circuit_breaker.reset()
        return PostgresqlConnection(
            raw, self._circuit_breaker, is_session=is_session, statement_timeout_s=self.statement_timeout_s
        )

    def close(self, connections: Iterable[Connection]) -> None:
        """Close all connections of this process."""
        for connection in connections:
            connection.close()


def find_pool_mode(url: str) -> PoolMode:
    """Return the mode of the connection pooler in front of a PostgreSQL database, or ``None`` if there is none.

    :raises StoreUnavailable: if the database cannot be reached, or the pooler allows no transactions.
    """
    import psycopg

    driver = PostgresqlDriver(url, pooler="transaction")
    with closing(driver.connect()) as first, closing(driver.connect()) as second:
        try:
            if not has_pooler(first.raw):
                return None
            return "transaction" if shares_sessions(first.raw, second.raw) else "unknown"
        except psycopg.Error as cause:
            raise StoreUnavailable(f"the PostgreSQL database failed: {cause}") from cause


class PostgresqlConnection:
    """A PostgreSQL connection with the methods of the protocol ``Connection``.

    :param is_session: whether all statements run in one session of the database, so that statements can be prepared,
        and settings outlast a transaction.
    :param statement_timeout_s: after this time, the server cancels a statement.
    """

    def __init__(
        self, raw: Any, circuit_breaker: CircuitBreaker, *, is_session: bool, statement_timeout_s: int
    ) -> None:
        import psycopg

        from .psycopg_timeout import AnswerTimeout

        self.raw = raw
        self._is_session = is_session
        self._statement_timeout = f"{statement_timeout_s}s"
        self._prepare = None if is_session else False  # None: when a statement is run for the sixth time
        self._circuit_breaker = circuit_breaker
        self._lock_timeout_s = BUSY_TIMEOUT_S
        self._deadlock_error = psycopg.errors.DeadlockDetected
        self._lock_timeout_error = psycopg.errors.LockNotAvailable
        self._serialization_error = psycopg.errors.SerializationFailure
        self._prepared_statement_errors = (
            psycopg.errors.InvalidSqlStatementName,  # a pooler ran the statement in another session
            psycopg.errors.DuplicatePreparedStatement,
            psycopg.errors.FeatureNotSupported,  # a table was changed: "cached plan must not change result type"
        )
        self._answer_timeout_error = AnswerTimeout
        self._missing_table_error = psycopg.errors.UndefinedTable
        self._unavailable_errors = (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.InternalError,  # includes a standby after a failover, and a transaction that timed out
            psycopg.errors.UndefinedTable,
            psycopg.errors.InsufficientPrivilege,
            *self._prepared_statement_errors,
        )

    def fetch_all(self, statement: BoundStatement) -> list[Row]:
        sql, values = sql_and_values(statement, "postgresql", time.time)
        self._check_circuit_breaker()
        try:
            rows: list[Row]
            if self._is_session:
                rows = self.raw.execute(sql, values, prepare=self._prepare).fetchall()
            else:
                with self.raw.pipeline():  # one transaction and one round trip
                    self._apply_transaction_settings(BUSY_TIMEOUT_S)
                    cursor = self.raw.execute(sql, values, prepare=self._prepare)
                rows = cursor.fetchall()
        except self._unavailable_errors as cause:
            raise self._to_store_error(cause) from cause
        self._circuit_breaker.reset()
        return rows

    def run_transactions(
        self, transactions: Sequence[Transaction], timeout_s: float, clock: Callable[[], float]
    ) -> list[bool]:
        self._check_circuit_breaker()
        is_committing = False
        try:
            if self._is_session:
                self._set_lock_timeout(timeout_s)
            with self.raw.transaction():
                if not self._is_session:
                    self._apply_transaction_settings(timeout_s)
                locks = [lock for each in transactions for statement in each.statements() for lock in statement.locks]
                results: list[bool] = []
                for _, group in groupby(transactions, key=lambda each: each.is_independent or id(each)):
                    results += self._run_group(list(group), locks, clock)
                    locks = []
                is_committing = True
        except self._deadlock_error as cause:
            if len(transactions) > 1:
                raise  # rolled back: the store runs each transaction again on its own
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._unavailable_errors as cause:
            error = self._to_store_error(cause)
            error.may_be_written = error.may_be_written and is_committing
            if type(error) is StoreUnavailable and self.raw.closed and not is_committing:
                raise ConnectionLost(str(error)) from cause
            raise error from cause
        self._circuit_breaker.reset()
        return results

    def _run_group(
        self, transactions: Sequence[Transaction], locks: Sequence[BoundStatement], clock: Callable[[], float]
    ) -> list[bool]:
        """Run one transaction, or several independent ones, and return whether the condition of each was met.

        :param locks: statements to run first.
        """
        conditions = [each.condition for each in transactions if each.condition is not None]
        row_counts = iter(self._execute_all([*locks, *conditions], clock)[len(locks) :])
        results = [each.condition is None or next(row_counts) == 1 for each in transactions]
        self._execute_all(
            [
                statement
                for transaction, condition_met in zip(transactions, results, strict=True)
                for statement in (transaction.rows if condition_met else transaction.else_rows)
            ],
            clock,
        )
        return results

    def _check_circuit_breaker(self) -> None:
        """Fail at once if the server has timed out within the last second.

        A closed connection is not checked: its next statement raises an error, and a new connection replaces it.

        :raises StoreTimeout: if the server has timed out and it is not time to try it again.
        """
        if self._circuit_breaker.retry_at is not None and not self.raw.closed:
            self._circuit_breaker.check()

    def _to_store_error(self, cause: Exception) -> StoreUnavailable:
        """Return the exception to raise for a psycopg error.

        A timeout opens the circuit breaker. After an error of a prepared statement, no more are used.
        """
        message = f"the PostgreSQL database failed: {cause}"
        if isinstance(cause, self._lock_timeout_error):  # rolled back
            return StoreBusy(f"the PostgreSQL database is busy: {cause}")
        if isinstance(cause, self._prepared_statement_errors):
            self._prepare = False
            return StoreConflict(message)
        if isinstance(cause, self._serialization_error):
            return StoreConflict(message)
        if isinstance(cause, self._missing_table_error):
            return NoTables(message)
        if not isinstance(cause, self._answer_timeout_error):
            return StoreUnavailable(message)
        self._circuit_breaker.trip()
        return StoreTimeout(message)

    def _set_lock_timeout(self, timeout_s: float) -> None:
        if abs(timeout_s - self._lock_timeout_s) > 0.1:  # not for every write, as it costs another round trip
            self.raw.execute(f"SET lock_timeout = {int(timeout_s * 1000)}")
            self._lock_timeout_s = timeout_s

    def _apply_transaction_settings(self, lock_timeout_s: float) -> None:
        """Set the timeouts for the current transaction; the session may be another one in the next."""
        self.raw.execute(
            _TRANSACTION_SETTINGS, (self._statement_timeout, f"{int(lock_timeout_s * 1000)}ms"), prepare=False
        )

    def _execute_all(self, statements: Sequence[BoundStatement], clock: Callable[[], float]) -> list[int]:
        """Run SQL statements and return how many rows each changed; all are sent before the first response is read."""
        bound = [sql_and_values(statement, "postgresql", clock) for statement in statements]
        if len(bound) < 2:
            return [self.raw.execute(sql, values, prepare=self._prepare).rowcount for sql, values in bound]
        with self.raw.pipeline():
            cursors = [self.raw.execute(sql, values, prepare=self._prepare) for sql, values in bound]
        return [cursor.rowcount for cursor in cursors]

    def close(self) -> None:
        self.raw.close()
