"""One service of two servers, the first with two workers, and the app that wants to use its API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.program import free_port
from tests.support.revocation import assert_revoked_within_one_second
from tests.support.valetkey_server import Deployment, RunningServer

EMAIL, PASSWORD = "maya@example.com", "a violet tram in june"


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


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServers]:
    """Two servers on one database, with Maya's account."""
    app = Path(__file__).with_name("process_header_app.py")
    deployment = Deployment(tmp_path_factory.mktemp("journeys"), app=app)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment, workers=2) as first, RunningServer(deployment, port=free_port()) as second:
        yield ApiServers(first, second)


@pytest.fixture
def app(api: ApiServers) -> Iterator[ThirdPartyApp]:
    """An app that its developer has just registered."""
    with ThirdPartyApp() as made:
        made.credentials = api.first.deployment.create_client(
            "web", name="Sunflower", scope="profile notes:write", redirect_uris=[made.redirect_uri]
        )
        yield made


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def visitor(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """The browser of somebody who has never been here, with JavaScript and without."""
    with _new_context(browser, java_script_enabled=request.param) as context:
        yield context.new_page()


def _new_context(browser: Browser, *, java_script_enabled: bool) -> BrowserContext:
    return browser.new_context(java_script_enabled=java_script_enabled)
