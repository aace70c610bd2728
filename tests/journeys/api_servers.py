"""The API of the journeys, and calls to each of the three processes that serve it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from tests.support.revocation import assert_revoked_within_one_second
from tests.support.valetkey_server import RunningServer


@dataclass(frozen=True)
class ApiServers:
    """Two servers with three processes that serve ``process_header_api.py`` on one database."""

    first: RunningServer  # with two workers
    second: RunningServer

    @property
    def url(self) -> str:
        return self.first.url

    def call(self, token: str, path: str = "/api/protected") -> httpx.Response:
        """Call the API of the first server with a token."""
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"})

    def call_every_process(self, token: str) -> dict[str, int]:
        """Call until each of the three processes has responded, and return the statuses by process id."""
        statuses: dict[str, int] = {}
        for _ in range(200):
            for server in (self.first, self.second):  # a new connection for each call, so that any worker may accept it
                response = httpx.get(f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"})
                statuses[response.headers["Process"]] = response.status_code
            if len(statuses) == 3:
                return statuses
        raise AssertionError(f"only these processes responded: {statuses}")

    def assert_revoked_everywhere_within_one_second(self, token: str) -> None:
        """Check that all three processes refuse the token within one second."""
        assert_revoked_within_one_second(lambda: self.call_every_process(token).values())
