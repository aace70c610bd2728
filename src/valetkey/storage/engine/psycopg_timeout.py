"""A connection of psycopg's that waits for an answer, but not for ever. Imported where psycopg is there."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg

ANSWER_SECONDS = 4.5  # longer than the server lets a statement run: one that lives speaks first


class Silent(psycopg.OperationalError):
    """The server acknowledges what it is sent, and says nothing: it was stopped, or its machine stands still."""


class PatientConnection(psycopg.Connection[Any]):
    """Ends what is not answered in time. No timeout of TCP's does so: the kernel of a stopped server goes on."""

    def wait(self, gen: Generator[Any, Any, Any], *given: Any, **named: Any) -> Any:
        return super().wait(self._until(gen, time.monotonic() + ANSWER_SECONDS), *given, **named)

    def _until(self, gen: Generator[Any, Any, Any], deadline: float) -> Generator[Any, Any, Any]:
        """The same steps, as long as there is time; psycopg looks in ten times a second where nothing comes."""
        ready = None
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                self.pgconn.finish()  # nothing more can be said on it, a rollback neither
                raise Silent(f"no answer in {ANSWER_SECONDS} s")
