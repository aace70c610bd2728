"""A crash of PostgreSQL: guesses stay counted, while the budgets of API routes are full again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.app import MakeApp, prepare_database
from tests.support.clock import Clock
from tests.support.postgres import PostgreSQLServer
from valetkey.protocol.errors import TooManyRequests


@pytest.fixture
def durable_postgresql() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server of this test alone, whose committed data survives a kill."""
    with PostgreSQLServer(durable=True) as server:
        yield server


def test_guesses_stay_counted_after_a_crash_of_postgresql(
    durable_postgresql: PostgreSQLServer, make_app: MakeApp, clock: Clock
) -> None:
    url = durable_postgresql.create_database()
    prepare_database(url)
    app = make_app(url, sign_in_limit="3/hour burst 3")
    for _ in range(3):
        app.extensions["valetkey"].limits.charge("sign_in_limit", "ada@example.com", now=clock())
    assert [app.test_client().get("/api/public").status_code for _ in range(7)] == [200] * 6 + [429]

    durable_postgresql.kill()
    durable_postgresql.start()

    restarted = make_app(url, sign_in_limit="3/hour burst 3")
    with pytest.raises(TooManyRequests):
        restarted.extensions["valetkey"].limits.charge("sign_in_limit", "ada@example.com", now=clock())
    assert restarted.test_client().get("/api/public").status_code == 200
