"""A user who clicks a button twice, in Chromium, while two server processes behind a slow network answer.

The browser shows only the answer to the second request; the first request was sent too, and has its effect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.support.postgres import PostgreSQLServer
from tests.support.program import free_port
from tests.support.slow_proxy import APP_PATH, SlowProxy
from tests.support.smtp_server import SmtpServer
from tests.support.user import EMAIL, PASSWORD
from tests.support.valetkey_server import SCOPES, Deployment, RunningServer
from valetkey.protocol.pkce import s256

DELAY_S = 0.15
# Milliseconds between the clicks: both requests run at once, or the browser follows the redirect of the first.
PAUSES_MS = [25, 220]
VERIFIER = "v" * 43


@dataclass
class SlowSite:
    """Two servers with one database behind a slow proxy, and a client."""

    proxy: SlowProxy
    deployment: Deployment
    client_id: str
    email: str  # of a user with the password PASSWORD
    users: int = 0

    def create_user(self) -> str:
        """Create a user with the password ``PASSWORD``, and return the e-mail address."""
        self.users += 1
        email = f"user{self.users}@example.com"
        self.deployment.create_user(email, PASSWORD)
        return email

    def authorization_url(self) -> str:
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": f"{self.proxy.url}{APP_PATH}",
            "scope": "profile",
            "state": "xyz",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
        }
        return f"{self.proxy.url}/oauth/authorize?{urlencode(parameters)}"

    def redeem(self, callback_url: str) -> httpx.Response:
        """Redeem the code in the URL at which the app got it."""
        code = parse_qs(urlsplit(callback_url).query)["code"][0]
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client_id,
            "redirect_uri": f"{self.proxy.url}{APP_PATH}",
            "code_verifier": VERIFIER,
        }
        return httpx.post(f"http://127.0.0.1:{self.proxy.next_port()}/oauth/token", data=body)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").create_database())
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'valetkey.sqlite3'}"


@pytest.fixture(scope="module")
def site(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowSite]:
    with start_site(database_url, tmp_path_factory.mktemp("twice")) as site:
        yield site


@pytest.fixture(scope="module")
def mail_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="module")
def mail_site(
    mail_server: SmtpServer, tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQLServer
) -> Iterator[SlowSite]:
    folder = tmp_path_factory.mktemp("mail")
    mail = {"mail_url": mail_server.url, "mail_from": "site@example.com"}
    with start_site(postgresql.create_database(), folder, **mail) as site:
        yield site


@contextmanager
def start_site(database_url: str, folder: Path, **further_settings: str) -> Iterator[SlowSite]:
    """Start two servers with these settings, and the proxy in front of them."""
    with ExitStack() as stack:
        proxy = stack.enter_context(SlowProxy(DELAY_S))
        settings = {
            "database_url": database_url,
            "issuer": proxy.url,
            "scopes": SCOPES,
            "sign_up": True,
            "sign_up_limit": "1000/hour",
            "sign_in_address_limit": "1000/minute",
            "interaction_limit": "1000/minute",
            **further_settings,
        }
        deployment = Deployment(folder, settings=settings)
        deployment.run("init")
        deployment.create_user(EMAIL, PASSWORD)
        client = deployment.create_client("native", name="Shop", redirect_uris=[f"{proxy.url}{APP_PATH}"])
        ports = (deployment.port, free_port())
        for port in ports:
            stack.enter_context(RunningServer(deployment, port=port))
        proxy.ports = ports
        yield SlowSite(proxy, deployment, client["client_id"], EMAIL)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def press_twice(page: Page, button_id: str, pause_ms: int) -> None:
    """Click a button, and again after a pause. Wait until the browser has loaded a page after that."""
    script = "([id, pause]) => { const b = document.getElementById(id); b.click(); setTimeout(() => b.click(), pause) }"
    before = page.evaluate("performance.timeOrigin")
    page.evaluate(script, [button_id, pause_ms])
    page.wait_for_timeout(pause_ms + 3 * 1000 * DELAY_S)
    page.wait_for_function("before => performance.timeOrigin != before", arg=before)
    page.wait_for_load_state()


def sign_in(page: Page, email: str) -> None:
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.click("#sign-in")
    page.wait_for_load_state()


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_the_app_gets_a_code_that_works_if_allow_is_pressed_twice(site: SlowSite, page: Page, pause_ms: int) -> None:
    page.goto(site.authorization_url())
    sign_in(page, site.email)

    press_twice(page, "allow", pause_ms)

    page.wait_for_url(f"**{APP_PATH}?*")
    redeemed = site.redeem(page.url)
    assert redeemed.status_code == 200, redeemed.text


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_the_app_gets_the_refusal_if_deny_is_pressed_twice(site: SlowSite, page: Page, pause_ms: int) -> None:
    page.goto(site.authorization_url())
    sign_in(page, site.email)

    press_twice(page, "deny", pause_ms)

    page.wait_for_url(f"**{APP_PATH}?*")
    assert parse_qs(urlsplit(page.url).query)["error"] == ["access_denied"]


def test_a_page_says_that_the_request_was_allowed_after_the_code_was_redeemed(site: SlowSite, page: Page) -> None:
    page.goto(site.authorization_url())
    sign_in(page, site.email)
    consent_url = page.url
    page.click("#allow")
    page.wait_for_url(f"**{APP_PATH}?*")
    assert site.redeem(page.url).status_code == 200

    page.goto(consent_url)

    assert page.locator("h1").inner_text() == "You already allowed this request"
    assert "Shop has access to your account." in page.locator("main").inner_text()


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_a_device_is_connected_if_allow_is_pressed_twice(site: SlowSite, page: Page, pause_ms: int) -> None:
    started = httpx.post(f"{site.proxy.url}/oauth/device", data={"client_id": site.client_id}).json()
    page.goto(started["verification_uri_complete"])
    sign_in(page, site.email)
    press_twice(page, "continue", pause_ms)
    assert "to use your account" in page.locator("h1").inner_text()

    press_twice(page, "allow", pause_ms)

    assert page.locator("h1").inner_text() == "Your device is connected"


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_signing_in_twice_starts_one_session(site: SlowSite, page: Page, pause_ms: int) -> None:
    page.goto(f"{site.proxy.url}/account")
    page.get_by_label("E-mail address").fill(site.create_user())
    page.get_by_label("Password").fill(PASSWORD)

    press_twice(page, "sign-in", pause_ms)

    assert page.locator("h1").inner_text() == "Your account"
    page.goto(f"{site.proxy.url}/account")
    assert count_sessions(page) == 1


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_signing_up_twice_creates_one_account_and_signs_in(site: SlowSite, page: Page, pause_ms: int) -> None:
    site.users += 1
    page.goto(f"{site.proxy.url}/account/sign-up")
    page.get_by_label("Name").fill("Nora")
    page.get_by_label("E-mail address").fill(f"nora{site.users}@example.com")
    page.get_by_label("Password").fill(PASSWORD)

    press_twice(page, "sign-up", pause_ms)

    assert page.locator("h1").inner_text() == "Your account"
    assert count_sessions(page) == 1


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_a_password_is_changed_if_the_button_is_pressed_twice(site: SlowSite, page: Page, pause_ms: int) -> None:
    email = site.create_user()
    page.goto(f"{site.proxy.url}/account/password")
    sign_in(page, email)
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("another violet tram")

    press_twice(page, "change-password", pause_ms)

    assert "Your new password is set." in page.locator("body").inner_text()


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_a_token_is_created_once_and_its_value_is_shown_once(site: SlowSite, page: Page, pause_ms: int) -> None:
    name = f"Backup {pause_ms}"
    page.goto(f"{site.proxy.url}/account/tokens/new?name={name}&scope=profile")
    sign_in(page, site.email)
    posts = site.proxy.count_posts("/account/tokens/new")

    press_twice(page, "create", pause_ms)

    is_created_page = page.locator("h1").inner_text() == "Copy your new token now"
    # Of two requests, the second one may be handled first; the browser shows the response to it.
    assert is_created_page or site.proxy.count_posts("/account/tokens/new") == posts + 2
    if not is_created_page:
        assert page.locator("h1").inner_text() == "This token was already created"
        assert not re.search(r"vk_pat_\w{50}", page.content())
    page.goto(f"{site.proxy.url}/account/tokens")
    assert page.locator("#token-list > li").filter(has_text=name).count() == 1


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
def test_signing_out_twice_shows_no_error(site: SlowSite, page: Page, pause_ms: int) -> None:
    page.goto(f"{site.proxy.url}/account")
    sign_in(page, site.email)

    press_twice(page, "sign-out", pause_ms)

    assert page.locator("h1").inner_text() == "Sign in"


@pytest.mark.parametrize("pause_ms", PAUSES_MS)
@pytest.mark.parametrize("form", ["forgotten password", "sign-up", "verification of the address"])
def test_a_link_is_mailed_once_if_the_button_is_pressed_twice(
    mail_site: SlowSite, mail_server: SmtpServer, page: Page, form: str, pause_ms: int
) -> None:
    email = f"new{pause_ms}@example.com" if form == "sign-up" else mail_site.create_user()
    if form == "verification of the address":
        page.goto(f"{mail_site.proxy.url}/account")
        sign_in(page, email)
    else:
        page.goto(f"{mail_site.proxy.url}/account/{'sign-up' if form == 'sign-up' else 'forgotten'}")
        page.get_by_label("E-mail address").fill(email)
    if form == "sign-up":
        page.get_by_label("Name").fill("Nora")

    buttons = {"forgotten password": "send-link", "sign-up": "sign-up"}
    press_twice(page, buttons.get(form, "send-verification"), pause_ms)

    assert page.locator("h1").inner_text() == "Check your mail"
    wait_until(lambda: email in list_recipients(mail_server))
    wait_for_later_mail(mail_site, mail_server)
    assert list_recipients(mail_server).count(email) == 1


def wait_for_later_mail(mail_site: SlowSite, mail_server: SmtpServer) -> None:
    """Request a mail by another form and wait for it: mails that were requested before it were sent before it."""
    email = mail_site.create_user()
    with httpx.Client(base_url=mail_site.proxy.url) as client:
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/account/forgotten").text)
        assert token
        client.post("/account/forgotten", data={"csrf_token": token[1], "email": email})
    wait_until(lambda: email in list_recipients(mail_server))


def wait_until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def list_recipients(mail_server: SmtpServer) -> list[str]:
    return [recipient for mail in list(mail_server.received) for recipient in mail.recipients]


def count_sessions(page: Page) -> int:
    """Return the number of sign-ins that the account page lists."""
    return page.locator("[aria-labelledby=sign-ins] dl > div").count()
