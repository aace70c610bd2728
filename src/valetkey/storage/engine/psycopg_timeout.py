"""A connection of psycopg's that waits for an answer, but not for ever. Imported where psycopg is there."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg

ANSWER_TIMEOUT_S = 4.5  # longer than the server lets a statement run: one that lives speaks first


class AnswerTimeout(psycopg.OperationalError):
    """The server acknowledges what it is sent, and says nothing: it was stopped, or its machine stands still."""


class DeadlineConnection(psycopg.Connection[Any]):
    """Ends what is not answered in time. No timeout of TCP's does so: the kernel of a stopped server goes on."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        return super().wait(self._with_deadline(gen, time.monotonic() + ANSWER_TIMEOUT_S), *args, **kwargs)

    def _with_deadline(self, gen: Generator[Any, Any, Any], deadline: float) -> Generator[Any, Any, Any]:
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
                raise AnswerTimeout(f"no answer in {ANSWER_TIMEOUT_S} s")
