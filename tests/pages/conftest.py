"""One server, somebody with an account and a long name, and the pages that they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page

from tests.pages.site import APP_NAME, LONG_EMAIL, SCOPES, USER_NAME, Site
from tests.support.user import CALLBACK, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The bare service; two apps are known, and one of them is connected."""
    deployment = Deployment(tmp_path_factory.mktemp("pages"), settings={"scopes": SCOPES})
    deployment.run("init")
    deployment.create_user(LONG_EMAIL, PASSWORD, name=USER_NAME)
    asks, connected = (
        deployment.create_client("web", name=name, scope=" ".join(SCOPES), redirect_uris=[CALLBACK])["client_id"]
        for name in (APP_NAME, "Sunflower")
    )
    device = deployment.create_client("native", name=APP_NAME, redirect_uris=["http://127.0.0.1/back"])["client_id"]
    with RunningServer(deployment) as server:
        with User(LONG_EMAIL, PASSWORD) as person:
            person.allow(Site(server.url, connected).authorization_url())
        yield Site(server.url, asks, device)


def _open_sign_in(page: Page, site: Site) -> None:
    page.goto(site.authorization_url())


def _open_sign_up(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/sign-up")


def _open_invalid_sign_up(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/sign-up")
    page.eval_on_selector("form:has(#sign-up)", "form => form.noValidate = true")
    page.click("#sign-up")


def _open_consent(page: Page, site: Site) -> None:
    page.goto(site.authorization_url())
    site.sign_in(page)


def _open_account(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account")
    site.sign_in(page)


def _open_refusal(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/oauth/authorize?client_id=unknown")


def _open_device(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/device")
    site.sign_in(page)


def _open_device_with_code(page: Page, site: Site) -> None:
    asked = httpx.post(f"{site.url}/oauth/device", data={"client_id": site.device_client_id})
    page.goto(asked.json()["verification_uri_complete"])
    site.sign_in(page)


def _open_device_consent(page: Page, site: Site) -> None:
    _open_device_with_code(page, site)
    page.click("#continue")


def _open_logout(page: Page, site: Site) -> None:
    _open_account(page, site)
    page.goto(f"{site.url}/oauth/logout?client_id={site.client_id}")


def _open_signed_out(page: Page, site: Site) -> None:
    _open_logout(page, site)
    page.click("#log-out")


def _open_new_token(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/tokens/new?name={APP_NAME}&scope=notes:read+notes:write")
    site.sign_in(page)


def _open_invalid_new_token(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/tokens/new")
    site.sign_in(page)
    page.eval_on_selector("form:has(#create)", "form => form.noValidate = true")
    page.click("#create")


def _open_created_token(page: Page, site: Site) -> None:
    _open_new_token(page, site)
    page.click("#create")


def _open_tokens(page: Page, site: Site) -> None:
    _open_created_token(page, site)
    page.click("#done")


def _open_front_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")


OpenPage = Callable[[Page, Site], None]
PAGES: dict[str, tuple[OpenPage, str]] = {  # how one gets there, and the heading
    "first": (_open_front_page, ""),
    "sign-in": (_open_sign_in, "Sign in"),
    "sign-up": (_open_sign_up, "Create an account"),
    "a form with mistakes": (_open_invalid_sign_up, "Create an account"),
    "consent": (_open_consent, "to use your account"),
    "account": (_open_account, "Your account"),
    "device": (_open_device, "Connect a device"),
    "device, with its code": (_open_device_with_code, "Connect a device"),
    "device, consent": (_open_device_consent, "to use your account"),
    "logout": (_open_logout, "Sign out of"),
    "signed out": (_open_signed_out, "You are signed out"),
    "new token": (_open_new_token, "New personal access token"),
    "new token, with mistakes": (_open_invalid_new_token, "New personal access token"),
    "token made": (_open_created_token, "Copy your new token now"),
    "tokens": (_open_tokens, "Personal access tokens"),
    "refused": (_open_refusal, "This request cannot go on"),
}


@pytest.fixture(params=list(PAGES))
def open_page(request: pytest.FixtureRequest, site: Site) -> Callable[[Page], None]:
    """Go to one of the pages; the test runs for each."""
    go, heading = PAGES[request.param]

    def there(page: Page) -> None:
        go(page, site)
        assert heading in page.locator("h1").inner_text()

    return there
