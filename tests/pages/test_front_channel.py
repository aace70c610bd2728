"""Front-channel logout in a real browser: the app is notified in a frame, and the browser goes on to the app once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.pages.site_under_test import LONG_EMAIL, SCOPES, Site
from tests.support.user import PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol.pkce import s256

PAGE = b"<!doctype html><title>The app</title>"
RELOADING_PAGE = b"<!doctype html><title>Out</title><script>setTimeout(() => location.reload(), 100)</script>"
CLICK_LATER = "setTimeout(() => document.querySelector('form[action$=\"/back\"] #continue')?.click(), 1000)"
# A newer Chromium sends one request for two navigations to one URL, so the attempts are counted, too.
LOG_NAVIGATIONS = "navigation.addEventListener('navigate', (event) => console.log(event.destination.url))"
LOG_CLICKS = "addEventListener('click', (event) => console.log(`stopped ${event.defaultPrevented}`))"
DEVICE_APP = "com.example.shop:/after"
TARGET_DELAY_S = (
    4.0  # longer than the timer of the page, so that everything that goes on does so before the page is left
)


@dataclass
class RelyingParty:
    """The server of a relying party; it records when the browser arrived at each path."""

    arrivals: dict[str, list[float]] = field(default_factory=dict)
    frame: bytes = PAGE  # response in the frame
    may_respond: Event = field(default_factory=Event)  # the frame's response is sent when it is set
    target_delay_s: float = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        return len(self.arrivals.get(path, ()))

    def wait_for(self, path: str, page: Page, timeout_s: float = 15) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.count(path) and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert self.count(path), f"no request for {path}"


@pytest.fixture(scope="module")
def relying_party_server() -> Iterator[RelyingParty]:
    party = RelyingParty()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            party.arrivals.setdefault(path, []).append(time.monotonic())
            if path == "/out":
                party.may_respond.wait(30)
            elif path in {"/after", "/back"}:
                time.sleep(party.target_delay_s)
            self._respond(party.frame if path == "/out" else PAGE)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def _respond(self, body: bytes) -> None:
            try:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the browser has left

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        party.port = server.server_port
        yield party
        party.may_respond.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def site(relying_party_server: RelyingParty, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    app = relying_party_server.url
    deployment = Deployment(tmp_path_factory.mktemp("logout"), settings={"scopes": SCOPES})
    deployment.run("init")
    deployment.create_user(LONG_EMAIL, PASSWORD)
    uris = ["--redirect-uri", f"{app}/back", "--post-logout-redirect-uri", f"{app}/after"]
    uris += ["--frontchannel-logout-uri", f"{app}/out", "--backchannel-logout-uri", f"{app}/backchannel"]
    device_uris = ["--redirect-uri", DEVICE_APP, "--post-logout-redirect-uri", DEVICE_APP]
    client_id, device_client_id = (
        json.loads(deployment.run("clients", "create", "--name", "Shop", *options, "--json"))["client_id"]
        for options in (uris, ["--policy", "native", *device_uris])
    )
    with RunningServer(deployment) as server:
        yield Site(server.url, client_id, device_client_id)


@pytest.fixture
def relying_party(relying_party_server: RelyingParty) -> Iterator[RelyingParty]:
    """The relying party without arrivals; it responds to every request at once."""
    party = relying_party_server
    party.arrivals.clear()
    party.frame, party.target_delay_s = PAGE, 0
    party.may_respond.set()
    yield party
    party.may_respond.set()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def any_page(request: pytest.FixtureRequest, browser: Browser, relying_party: RelyingParty) -> Iterator[Page]:
    """A page with or without scripts. At the end of the test it must have gone on to the app once."""
    attempts: list[str] = []
    with browser.new_context(java_script_enabled=request.param) as context:
        page = context.new_page()
        page.on("console", lambda message: attempts.append(message.text))
        page.add_init_script(LOG_NAVIGATIONS)
        yield page
    assert relying_party.count("/after") == 1
    assert len([url for url in attempts if "/after" in url]) == (1 if request.param else 0)


def sign_in(page: Page, site: Site, relying_party: RelyingParty, **changes: str) -> None:
    """Sign in at the app and allow its request. The browser is then on its way to the app."""
    request = {"response_type": "code", "client_id": site.client_id, "scope": "openid", "state": "x", **changes}
    request |= {"code_challenge": s256("v" * 43), "code_challenge_method": "S256"}
    request["redirect_uri"] = f"{relying_party.url}/back"
    page.goto(f"{site.url}/oauth/authorize?{urlencode(request)}")
    site.sign_in(page)
    if page.locator("#allow").count():
        page.click("#allow", no_wait_after=True)
    relying_party.wait_for("/back", page)


def start_logout(
    page: Page, site: Site, relying_party: RelyingParty, *, target: str | None = None, target_delay_s: float = 0
) -> None:
    """Sign in, send the app's logout request and confirm it. Return when the frame has been requested.

    :param target: the post_logout_redirect_uri of the app on the device; by default, a page of the relying party.
    :param target_delay_s: seconds until the page to which the browser goes on responds.
    """
    sign_in(page, site, relying_party)
    page.wait_for_url(f"{relying_party.url}/back?**")
    relying_party.target_delay_s = target_delay_s
    request = {"client_id": site.device_client_id if target else site.client_id, "state": "x"}
    request["post_logout_redirect_uri"] = target or f"{relying_party.url}/after"
    page.goto(f"{site.url}/oauth/logout?{urlencode(request)}")
    page.click("#log-out", no_wait_after=True)
    relying_party.wait_for("/out", page)


@pytest.mark.parametrize(
    ("is_slow", "timeout_ms"), [(False, 2_500), (True, 8_000)], ids=["app responds", "app does not respond"]
)
def test_the_app_is_notified_in_a_frame_and_the_browser_is_redirected_to_it(
    relying_party: RelyingParty, site: Site, page: Page, is_slow: bool, timeout_ms: int
) -> None:
    """The redirect comes as soon as the frame has loaded, or after three seconds."""
    if is_slow:
        relying_party.may_respond.clear()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    start_logout(page, site, relying_party)
    page.wait_for_url(f"{relying_party.url}/after?state=x", timeout=timeout_ms)

    (frame_url,) = (url for url in requests if url.startswith(f"{relying_party.url}/out?"))
    parameters = parse_qs(urlsplit(frame_url).query)
    assert parameters["iss"] == [site.url]
    assert parameters["sid"][0]


@pytest.mark.parametrize("frame", [PAGE, RELOADING_PAGE], ids=["ordinary", "reloading"])
def test_the_browser_continues_once_to_a_slow_app(
    relying_party: RelyingParty, site: Site, any_page: Page, frame: bytes
) -> None:
    relying_party.frame = frame
    start_logout(any_page, site, relying_party, target_delay_s=TARGET_DELAY_S)
    relying_party.wait_for("/after", any_page)

    any_page.wait_for_url(f"{relying_party.url}/after?state=x")

    assert relying_party.count("/after") == 1


@pytest.mark.parametrize("frame_delay_s", [2.0, 3.5], ids=["before the timer", "after the timer"])
def test_the_browser_continues_once_although_the_frame_and_the_app_are_slow(
    relying_party: RelyingParty, site: Site, any_page: Page, frame_delay_s: float
) -> None:
    """With scripts, the timer and the loaded frame both go on; without, the refresh waits for the frame."""
    relying_party.may_respond.clear()
    start_logout(any_page, site, relying_party, target_delay_s=TARGET_DELAY_S)
    any_page.wait_for_timeout(frame_delay_s * 1000)
    relying_party.may_respond.set()
    relying_party.wait_for("/after", any_page)

    any_page.wait_for_url(f"{relying_party.url}/after?state=x")

    assert relying_party.count("/after") == 1


def test_the_browser_continues_once_if_the_link_is_clicked_before_the_timer(
    relying_party: RelyingParty, site: Site, any_page: Page
) -> None:
    relying_party.may_respond.clear()
    start_logout(any_page, site, relying_party, target_delay_s=TARGET_DELAY_S)
    any_page.click("#continue", no_wait_after=True)
    relying_party.wait_for("/after", any_page, timeout_s=2)
    relying_party.may_respond.set()

    any_page.wait_for_url(f"{relying_party.url}/after?state=x")

    assert relying_party.count("/after") == 1


def test_the_link_to_an_app_on_the_device_can_be_clicked_after_the_page_has_gone_on(
    relying_party: RelyingParty, site: Site, page: Page
) -> None:
    """The page stays, and a browser may have ignored the script: it opens other apps on a click only."""
    clicks: list[str] = []
    page.on("console", lambda message: clicks.append(message.text))
    page.add_init_script(LOG_CLICKS)
    start_logout(page, site, relying_party, target=DEVICE_APP)
    page.wait_for_load_state("load")
    clicks.clear()

    page.click("#continue", no_wait_after=True)
    deadline = time.monotonic() + 20
    while not clicks and time.monotonic() < deadline:
        page.wait_for_timeout(100)

    assert clicks == ["stopped false"]


def test_a_form_post_response_is_posted_once_to_a_slow_app(relying_party: RelyingParty, site: Site, page: Page) -> None:
    """The button is pressed while the app has not responded to the script's post."""
    relying_party.target_delay_s = TARGET_DELAY_S
    page.add_init_script(CLICK_LATER)
    sign_in(page, site, relying_party, response_mode="form_post", prompt="consent")

    page.wait_for_url(f"{relying_party.url}/back")

    assert relying_party.count("/back") == 1
