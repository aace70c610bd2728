"""One service of two servers, the first with two workers, and the app that wants to use its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.program import free_port
from tests.support.user import EMAIL, PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer


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
def new_user_page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """The browser of somebody who has never been here, with JavaScript and without."""
    with _new_context(browser, java_script_enabled=request.param) as context:
        yield context.new_page()


def _new_context(browser: Browser, *, java_script_enabled: bool) -> BrowserContext:
    return browser.new_context(java_script_enabled=java_script_enabled)
