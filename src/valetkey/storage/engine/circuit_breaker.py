"""Circuit breaker: after a backend has failed, calls fail at once; one call per second tries the backend again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from valetkey.protocol.unavailable import BackendUnavailable

from .after_fork import call_after_fork
from .transaction import StoreCircuitOpen

_RESET_TIMEOUT_S = 1.0


class CircuitBreaker:
    """Circuit breaker for a backend such as a database: after a failure it is open, and calls fail without waiting.

    While it is open, one call per ``reset_timeout_s`` may try the backend; a response closes it. It uses the process's
    monotonic clock, as it measures the time since this process saw a failure. Thread-safe.

    :param name: name of the backend for error messages, such as "the PostgreSQL database".
    :param error: class of the exception for calls that may not try the backend.
    :param reset_timeout_s: seconds for which calls fail after a failure.
    """

    __slots__ = ("__weakref__", "_clock", "_error", "_lock", "_name", "_reset_timeout_s", "retry_at")

    def __init__(
        self,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        error: type[BackendUnavailable] = StoreCircuitOpen,
        reset_timeout_s: float = _RESET_TIMEOUT_S,
    ) -> None:
        self._name = name
        self._clock = clock
        self._error = error
        self._reset_timeout_s = reset_timeout_s
        self._renew_lock()
        call_after_fork(self._renew_lock)
        self.retry_at: float | None = None  # when the next call may try the backend; None: closed

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def check(self) -> None:
        """Check that the backend may be called now.

        While the circuit is open, because the backend failed, one call per ``reset_timeout_s`` may try it.

        :raises BackendUnavailable: if the circuit is open and this call is not the one to try the backend.
        """
        if self.retry_at is None:
            return
        with self._lock:
            retry_at = self.retry_at  # read once: another thread may close the circuit meanwhile
            if retry_at is None:
                return
            if self._clock() < retry_at:
                raise self._error(
                    f"{self._name} failed within the last {self._reset_timeout_s:g} s; it is tried again soon"
                )
            self.trip()

    def trip(self) -> None:
        """Open the circuit, since the backend failed or did not respond in time: calls fail at once for a while."""
        self.retry_at = self._clock() + self._reset_timeout_s

    def reset(self) -> None:
        """Close the circuit, since the backend responded: calls are allowed again."""
        self.retry_at = None
