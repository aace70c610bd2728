"""PostgreSQL through psycopg 3; writes of one batch share round trips by pipelining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .circuit_breaker import Rest
from .statement import Bound, text_and_values
from .store import BUSY_SECONDS, Row
from .transaction import StoreBusy, StoreSilent, StoreUnavailable, Write

_SETUP = "SET statement_timeout = '4s'; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'"
_UNHEARD = 3000  # milliseconds after which a server that acknowledges nothing is gone


class PostgresqlDriver:
    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._rest = Rest("the PostgreSQL database")  # where it is silent; one that is down says so at once

    def connect(self) -> PostgresqlConnection:
        try:
            import psycopg

            from .psycopg_timeout import PatientConnection, Silent
        except ImportError as cause:
            raise StoreUnavailable("PostgreSQL needs its driver: pip install 'valetkey[postgresql]'") from cause
        self._rest.check_over()
        try:
            raw = PatientConnection.connect(self.url, autocommit=True, connect_timeout=2, tcp_user_timeout=_UNHEARD)
            raw.execute(_SETUP)
        except psycopg.Error as cause:
            told = f"the PostgreSQL database cannot be reached ({_reason(cause)}): start it, or correct database_url"
            if isinstance(cause, (psycopg.errors.ConnectionTimeout, Silent)):
                self._rest.begin()
                raise StoreSilent(told) from cause
            self._rest.end()
            raise StoreUnavailable(told) from cause
        self._rest.end()
        return PostgresqlConnection(raw, self._rest)


def _reason(cause: Exception) -> str:
    """What the server said; the driver's own words may quote the URL, and a password in it."""
    _, fatal, said = str(cause).partition("FATAL:")
    return said.strip().partition("\n")[0] if fatal else "no answer"


class PostgresqlConnection:
    def __init__(self, raw: Any, rest: Rest) -> None:
        import psycopg

        from .psycopg_timeout import Silent

        self.raw = raw
        self._rest = rest
        self._patience = BUSY_SECONDS
        self._deadlock = psycopg.errors.DeadlockDetected
        self._busy = psycopg.errors.LockNotAvailable
        self._silent = Silent
        self._unavailable = (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.UndefinedTable,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ReadOnlySqlTransaction,  # a standby after a failover
            psycopg.errors.IdleInTransactionSessionTimeout,
        )

    def rows(self, bound: Bound) -> list[Row]:
        sql, values = text_and_values(bound, "postgresql")
        self._check_answers()
        try:
            rows: list[Row] = self.raw.execute(sql, values).fetchall()
        except self._busy as cause:
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._unavailable as cause:
            raise self._failed(cause) from cause
        self._rest.end()
        return rows

    def run_all(self, writes: Sequence[Write], patience: float) -> list[bool]:
        self._check_answers()
        try:
            self._wait_at_most(patience)
            with self.raw.transaction():
                claims = [write.claim for write in writes if write.claim is not None]
                touched = iter(self._run(claims))
                won = [write.claim is None or next(touched) == 1 for write in writes]
                self._run(
                    [
                        bound
                        for write, mine in zip(writes, won, strict=True)
                        for bound in (write.rows if mine else write.otherwise)
                    ]
                )
        except self._deadlock as cause:
            if len(writes) > 1:
                raise  # rolled back for sure: each is run again on its own
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._busy as cause:  # rolled back: nothing was written
            raise StoreBusy(f"the PostgreSQL database is busy: {cause}") from cause
        except self._unavailable as cause:
            raise self._failed(cause) from cause
        self._rest.end()
        return won

    def _check_answers(self) -> None:
        """A connection that was given up says itself that it is closed: then a new one is what asks."""
        if self._rest.again_at is not None and not self.raw.closed:
            self._rest.check_over()

    def _failed(self, cause: Exception) -> StoreUnavailable:
        told = f"the PostgreSQL database failed: {cause}"
        if not isinstance(cause, self._silent):
            return StoreUnavailable(told)
        self._rest.begin()
        return StoreSilent(told)

    def _wait_at_most(self, patience: float) -> None:
        if abs(patience - self._patience) > 0.1:  # not at each write: it is another round trip
            self.raw.execute(f"SET lock_timeout = {int(patience * 1000)}")
            self._patience = patience

    def _run(self, bounds: Sequence[Bound]) -> list[int]:
        """Rows touched by each statement; all are sent before the first answer is read."""
        if len(bounds) < 2:
            return [self.raw.execute(*text_and_values(bound, "postgresql")).rowcount for bound in bounds]
        with self.raw.pipeline():
            cursors = [self.raw.execute(*text_and_values(bound, "postgresql")) for bound in bounds]
        return [cursor.rowcount for cursor in cursors]

    def close(self) -> None:
        self.raw.close()
