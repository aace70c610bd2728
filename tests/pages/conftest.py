"""Fixtures: a server, and a function that opens one of its pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from playwright.sync_api import Page

from tests.pages.site_under_test import APP_NAME, LONG_EMAIL, SCOPES, USER_NAME, OpenPage, Site
from tests.support.clock import NOW
from tests.support.user import CALLBACK, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.storage import accounts, provider_links
from valetkey.storage.engine.open import open_store
from valetkey.storage.provider_links import ProviderLink

PROVIDERS = [
    {"provider": "google", "client_id": "a", "client_secret": "b"},
    {"issuer": "http://127.0.0.1:1", "client_id": "a", "client_secret": "b", "name": APP_NAME, "id": "university"},
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without a host app, with a user and three clients. The user has allowed one of the clients."""
    deployment = Deployment(tmp_path_factory.mktemp("pages"), settings={"scopes": SCOPES})
    deployment.run("init")
    deployment.create_user(LONG_EMAIL, PASSWORD, name=USER_NAME)
    requesting_client_id, connected_client_id, unused_client_id = (
        deployment.create_client("web", name=name, scope=" ".join(SCOPES), redirect_uris=[CALLBACK])["client_id"]
        for name in (APP_NAME, "Sunflower", APP_NAME)
    )
    device_client = deployment.create_client("native", name=APP_NAME, redirect_uris=["http://127.0.0.1/back"])
    with_providers = Deployment(tmp_path_factory.mktemp("providers"), settings={"sign_in_with": json.dumps(PROVIDERS)})
    with_providers.run("init")
    with_providers.create_user(LONG_EMAIL, PASSWORD, name=USER_NAME)
    _connect_providers(with_providers)
    with RunningServer(deployment) as server, RunningServer(with_providers) as server_with_providers:
        with User(LONG_EMAIL, PASSWORD) as user:
            user.allow(Site(server.url, connected_client_id).authorization_url())
        yield Site(
            server.url,
            requesting_client_id,
            device_client["client_id"],
            unused_client_id,
            server_with_providers.url,
        )


def _connect_providers(deployment: Deployment) -> None:
    """Connect the user's account with one of the two providers, which are down."""
    with closing(open_store(f"sqlite:///{deployment.data_dir}/valetkey.db")) as store:
        (account,) = accounts.list_all(store)
        store.write_all(provider_links.add(ProviderLink("1", "http://127.0.0.1:1", account.sub, LONG_EMAIL, NOW)))


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
    response = httpx.post(f"{site.url}/oauth/device", data={"client_id": site.device_client_id})
    page.goto(response.json()["verification_uri_complete"])
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


def _open_access(page: Page, site: Site) -> None:
    _open_created_token(page, site)
    page.goto(f"{site.url}/account/access")


def _open_manual_redirect(page: Page, site: Site) -> None:
    uri = "https://shop.example/back"
    registered = httpx.post(f"{site.url}/oauth/register", json={"redirect_uris": [uri], "client_name": APP_NAME})
    client_id = registered.json()["client_id"]
    page.goto(f"{site.url}/oauth/authorize?client_id={client_id}&redirect_uri={uri}&response_type=token")


def _open_front_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")


def _open_sign_in_with_providers(page: Page, site: Site) -> None:
    page.goto(f"{site.url_with_providers}/account/sign-in")


def _open_sign_up_with_providers(page: Page, site: Site) -> None:
    page.goto(f"{site.url_with_providers}/account/sign-up")


def _open_provider_refused(page: Page, site: Site) -> None:
    _open_sign_in_with_providers(page, site)
    page.click("#continue-university")


def _open_account_with_providers(page: Page, site: Site) -> None:
    page.goto(f"{site.url_with_providers}/account")
    site.sign_in(page)


def _open_access_with_providers(page: Page, site: Site) -> None:
    page.goto(f"{site.url_with_providers}/account/access")
    site.sign_in(page)


PAGES: dict[str, tuple[Callable[[Page, Site], None], str]] = {  # the function that opens it, and its heading
    "front page": (_open_front_page, ""),
    "sign-in": (_open_sign_in, "Sign in"),
    "sign-in with providers": (_open_sign_in_with_providers, "Sign in"),
    "sign-up with providers": (_open_sign_up_with_providers, "Create an account"),
    "provider refused": (_open_provider_refused, "did not sign you in"),
    "account with providers": (_open_account_with_providers, "Your account"),
    "sign-up": (_open_sign_up, "Create an account"),
    "sign-up, with errors": (_open_invalid_sign_up, "Create an account"),
    "consent": (_open_consent, "to use your account"),
    "account": (_open_account, "Your account"),
    "device": (_open_device, "Connect a device"),
    "device, with a code": (_open_device_with_code, "Connect a device"),
    "device, consent": (_open_device_consent, "to use your account"),
    "logout": (_open_logout, "Sign out of"),
    "signed out": (_open_signed_out, "You are signed out"),
    "new token": (_open_new_token, "New personal access token"),
    "new token, with errors": (_open_invalid_new_token, "New personal access token"),
    "created token": (_open_created_token, "Copy your new token now"),
    "tokens": (_open_tokens, "Personal access tokens"),
    "access with providers": (_open_access_with_providers, "Access to your account"),
    "access": (_open_access, "Access to your account"),
    "refused": (_open_refusal, "This request cannot go on"),
    "manual redirect": (_open_manual_redirect, "This request cannot go on"),
}


@pytest.fixture(params=list(PAGES))
def open_page(request: pytest.FixtureRequest, site: Site) -> OpenPage:
    """Return a function that opens one of the pages. The test runs for each page."""
    open_in_site, heading = PAGES[request.param]

    def open_and_check_heading(page: Page) -> None:
        open_in_site(page, site)
        assert heading in page.locator("h1").inner_text()

    return open_and_check_heading
