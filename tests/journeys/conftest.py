"""Fixtures: an API served by two servers, a third-party app that is registered there, and browsers of new users."""

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
    """Two servers on one database, the first with two workers. Maya has an account."""
    app = Path(__file__).with_name("process_header_api.py")
    deployment = Deployment(tmp_path_factory.mktemp("journeys"), app=app)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment, workers=2) as first, RunningServer(deployment, port=free_port()) as second:
        yield ApiServers(first, second)


@pytest.fixture
def app(api: ApiServers) -> Iterator[ThirdPartyApp]:
    """A newly registered app."""
    with ThirdPartyApp() as third_party_app:
        third_party_app.credentials = api.first.deployment.create_client(
            "web", name="Sunflower", scope="profile notes:write", redirect_uris=[third_party_app.redirect_uri]
        )
        yield third_party_app


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def new_user_page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A page in a browser without cookies, with JavaScript and without."""
    with _new_context(browser, java_script_enabled=request.param) as context:
        yield context.new_page()


def _new_context(browser: Browser, *, java_script_enabled: bool) -> BrowserContext:
    return browser.new_context(java_script_enabled=java_script_enabled)
