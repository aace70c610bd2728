"""Sign-in with providers in a browser: npm's ``oidc-provider`` and a GitHub-like one, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.third_party_app import ThirdPartyApp
from tests.support import github_like
from tests.support.openid_provider import OpenIDProvider
from tests.support.program import Program, accepts_connections, free_port
from tests.support.valetkey_server import METADATA_PATH, Deployment, RunningServer

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "app.py"
PASSWORD = "a violet tram in june"


@pytest.fixture(autouse=True)
def _unset_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> int:
    """The port of the site, which is part of its redirect URI at the provider."""
    return free_port()


@pytest.fixture
def provider(port: int) -> Iterator[OpenIDProvider]:
    """An OpenID Provider at which the site is registered with the id ``openid``."""
    base = f"http://127.0.0.1:{port}/account/sign-in/openid"
    with OpenIDProvider([f"{base}/callback"], backchannel_logout_uri=f"{base}/back-channel-logout") as provider:
        yield provider


@pytest.fixture
def code_host(tmp_path: Path) -> Iterator[str]:
    """The URL of a GitHub-like provider."""
    port = free_port()
    program = Program(
        [sys.executable, "-m", "tests.support.github_like", str(port)],
        log=tmp_path / "code_host.log",
        is_ready=lambda: accepts_connections(port),
        environment=dict(os.environ),
        cwd=Path(__file__).parents[2],
    )
    yield f"http://127.0.0.1:{port}"
    program.kill()


@pytest.fixture
def quickstart(
    provider: OpenIDProvider, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningServer]:
    """The quickstart with two workers; the environment names the provider."""
    monkeypatch.setenv("OIDC_ISSUER", provider.issuer)
    monkeypatch.setenv("OIDC_CLIENT_ID", provider.client_id)
    monkeypatch.setenv("OIDC_CLIENT_SECRET", provider.client_secret)
    deployment = Deployment(tmp_path, app=QUICKSTART, port=port)
    deployment.run("init")
    with RunningServer(deployment, workers=2) as server:
        yield server


@pytest.fixture
def site(provider: OpenIDProvider, code_host: str, port: int, tmp_path: Path) -> Iterator[RunningServer]:
    """A server without a host app, with two providers in its settings, and a user with a password."""
    providers = [
        {
            "provider": "openid",
            "issuer": provider.issuer,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "name": "Example",
            "id": "openid",
        },
        {
            "provider": "github",
            "client_id": github_like.CLIENT_ID,
            "client_secret": github_like.CLIENT_SECRET,
            "url": code_host,
        },
    ]
    deployment = Deployment(tmp_path, port=port, settings={"sign_in_with": json.dumps(providers)})
    deployment.run("init")
    deployment.create_user("ada@example.com", PASSWORD, name="Ada")
    with RunningServer(deployment) as server:
        yield server


def sign_in_at_provider(page: Page, provider: OpenIDProvider, login: str = "maya") -> None:
    """Fill in the pages of ``oidc-provider`` until the browser leaves it."""
    while page.url.startswith(provider.issuer):
        if page.locator("input[name=login]").count():
            page.fill("input[name=login]", login)
            page.fill("input[name=password]", "any")
        page.click("button[type=submit]")
        page.wait_for_load_state()


def test_a_user_signs_up_with_the_provider_consents_and_the_app_calls_the_api(
    browser: Browser, page: Page, provider: OpenIDProvider, quickstart: RunningServer
) -> None:
    metadata = httpx.get(f"{quickstart.url}{METADATA_PATH}").json()
    with ThirdPartyApp() as app:
        app.credentials = quickstart.deployment.create_client("web", name="Shop", redirect_uris=[app.redirect_uri])
        page.goto(app.start_authorization(metadata, scope="profile"))
        page.click("#continue-openid")
        sign_in_at_provider(page, provider)
        expect(page.locator("h1")).to_contain_text("Shop")
        page.click("#allow")
        page.wait_for_url(f"{app.redirect_uri}**")
        tokens = app.redeem(page.url)
        called = app.call(f"{quickstart.url}/api/protected", tokens["access_token"]).json()
        assert called["user"]

        with browser.new_context() as second_context:  # another browser, the same account
            second = second_context.new_page()
            second.goto(app.start_authorization(metadata, scope="profile"))
            second.click("#continue-openid")
            sign_in_at_provider(second, provider)
            second.wait_for_url(f"{app.redirect_uri}**")  # consent is remembered
            again = app.call(f"{quickstart.url}/api/protected", app.redeem(second.url)["access_token"]).json()
            assert again["user"] == called["user"]
    assert provider.client_secret not in quickstart.log
    assert "Traceback" not in quickstart.log


def test_without_the_variables_the_quickstart_has_passwords_only(tmp_path: Path, page: Page) -> None:
    with RunningServer(Deployment(tmp_path, app=QUICKSTART)) as server:
        page.goto(f"{server.url}/account/sign-in")
        expect(page.locator("#sign-in")).to_be_visible()
        expect(page.locator(".providers")).to_have_count(0)


def test_a_user_connects_two_providers_signs_in_with_each_and_disconnects_one(
    browser: Browser, page: Page, provider: OpenIDProvider, site: RunningServer
) -> None:
    page.goto(f"{site.url}/account")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.click("#sign-in")
    page.click("#connect-openid")
    sign_in_at_provider(page, provider, login="ada")
    expect(page.get_by_role("status")).to_contain_text("connected")
    page.click("#connect-github")
    page.click("#allow")
    expect(page.locator("#disconnect-github")).to_be_visible()

    for button in ("#continue-openid", "#continue-github"):
        with browser.new_context() as context:
            other = context.new_page()
            other.goto(f"{site.url}/account")
            other.click(button)
            if button == "#continue-openid":
                sign_in_at_provider(other, provider, login="ada")
            else:
                other.click("#allow")
            expect(other.locator(".person")).to_contain_text("ada@example.com")

    page.click("#disconnect-github")
    expect(page.locator("#connect-github")).to_be_visible()
    with browser.new_context() as context:
        other = context.new_page()
        other.goto(f"{site.url}/account")
        other.click("#continue-github")
        other.click("#allow")
        expect(other.locator(".person")).to_contain_text("maya@example.com")  # an account of its own


def test_a_provider_that_is_down_and_comes_back_with_other_keys(
    browser: Browser, page: Page, provider: OpenIDProvider, site: RunningServer
) -> None:
    page.goto(f"{site.url}/account")
    page.click("#continue-openid")
    sign_in_at_provider(page, provider)
    expect(page.locator("h1")).to_have_text("Your account")

    provider.restart()  # with a new key
    with browser.new_context() as context:
        other = context.new_page()
        other.goto(f"{site.url}/account")
        page.wait_for_timeout(10_000)  # keys are fetched again after ten seconds at the earliest
        other.click("#continue-openid")
        sign_in_at_provider(other, provider)
        expect(other.locator("h1")).to_have_text("Your account")

    with browser.new_context() as context:
        other = context.new_page()
        other.goto(f"{site.url}/account")
        with other.expect_request(f"{provider.issuer}/auth?**") as request:
            other.click("#continue-openid")
        (state,) = parse_qs(urlsplit(request.value.url).query)["state"]
        provider.stop()
        other.goto(f"{site.url}/account/sign-in/openid/callback?code=x&iss={provider.issuer}&state={state}")
        expect(other.locator("h1")).to_have_text("Example did not sign you in")
        expect(other.locator(".lead")).to_contain_text("cannot be reached")
        expect(other.locator("#continue-github")).to_be_visible()
        expect(other.locator("#sign-in-with-password")).to_be_visible()


def test_a_logout_at_the_provider_ends_the_session_here(
    page: Page, provider: OpenIDProvider, site: RunningServer
) -> None:
    page.goto(f"{site.url}/account")
    page.click("#continue-openid")
    sign_in_at_provider(page, provider)
    expect(page.locator("h1")).to_have_text("Your account")

    page.goto(f"{provider.issuer}/session/end")
    page.click("button[value=yes]")
    page.wait_for_load_state()

    page.goto(f"{site.url}/account")
    expect(page.locator("h1")).to_have_text("Sign in")
