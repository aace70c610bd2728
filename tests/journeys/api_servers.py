"""The API that the journeys call, served by three processes."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from tests.support.revocation import assert_revoked_within_one_second
from tests.support.valetkey_server import RunningServer


@dataclass(frozen=True)
class ApiServers:
    """The API under ``tests/journeys/process_header_app.py``, served by three processes."""

    first: RunningServer  # with two workers
    second: RunningServer

    @property
    def url(self) -> str:
        return self.first.url

    def call(self, token: str, path: str = "/api/protected") -> httpx.Response:
        """Call the API as an app does."""
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"})

    def call_every_process(self, token: str) -> dict[str, int]:
        """Call until each of the three processes has answered; its status by process."""
        statuses: dict[str, int] = {}
        for _ in range(200):
            for server in (self.first, self.second):  # a connection for each call: any worker may take it
                answer = httpx.get(f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"})
                statuses[answer.headers["Process"]] = answer.status_code
            if len(statuses) == 3:
                return statuses
        raise AssertionError(f"only {statuses} answered")

    def assert_revoked_everywhere_within_one_second(self, token: str) -> None:
        """Call until they all refuse it; raise where one does not in time."""
        assert_revoked_within_one_second(lambda: self.call_every_process(token).values())
