"""A psycopg connection for servers and poolers that misbehave. Import it only if psycopg is installed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator
from typing import Any

import psycopg

ANSWER_TIMEOUT_S = 4.5  # longer than statement_timeout: a working server reports that first


class AnswerTimeout(psycopg.OperationalError):
    """The server acknowledges the data it receives but does not respond: it was stopped, or its machine is frozen."""


class DeadlineConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not respond in time, and whose prepared statements are its own.

    A TCP timeout does not detect this, because the kernel of a stopped server still acknowledges data.

    psycopg numbers the prepared statements of each connection from 0. If a pooler shares sessions against the setting
    ``database_pooler``, a connection would run the statement that another one has prepared with the same name.
    """

    extra_answer_time_s = 0.0  # if statement_timeout is longer than for requests

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared._prepared_idx = secrets.randbits(62)  # psycopg has no setting for the names

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        timeout_s = ANSWER_TIMEOUT_S + self.extra_answer_time_s
        return super().wait(self._with_deadline(gen, timeout_s), *args, **kwargs)

    def _with_deadline(self, gen: Generator[Any, Any, Any], timeout_s: float) -> Generator[Any, Any, Any]:
        """Run psycopg's wait generator for a limited time; psycopg resumes it ten times a second if no data comes.

        :raises AnswerTimeout: after that time.
        """
        ready, deadline = None, time.monotonic() + timeout_s
        while True:
            try:
                state = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield state
            if not ready and time.monotonic() >= deadline:
                self.pgconn.finish()  # the connection is unusable, even for a rollback
                raise AnswerTimeout(f"no response within {timeout_s} s")
