"""Front-channel logout in a real browser: the CSP allows the frame, and the page redirects to the app by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page

from tests.pages.site_under_test import LONG_EMAIL, SCOPES, Site
from tests.support.user import PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol.pkce import s256


@pytest.fixture
def may_respond() -> Event:
    """An event: when it is set, the relying party responds to the request of the frame."""
    return Event()


@pytest.fixture
def relying_party(may_respond: Event) -> Iterator[ThreadingHTTPServer]:
    """The server of a relying party, which responds to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/out"):
                may_respond.wait(30)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>The app</title>")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        may_respond.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("is_slow", "timeout_ms"), [(False, 2_500), (True, 8_000)], ids=["app responds", "app does not respond"]
)
def test_the_app_is_notified_in_a_frame_and_the_browser_is_redirected_to_it(
    relying_party: ThreadingHTTPServer,
    may_respond: Event,
    tmp_path: Path,
    page: Page,
    is_slow: bool,
    timeout_ms: int,
) -> None:
    """The redirect comes as soon as the frame has loaded, or after three seconds."""
    if not is_slow:
        may_respond.set()
    app = f"http://127.0.0.1:{relying_party.server_port}"
    deployment = Deployment(tmp_path, settings={"scopes": SCOPES})
    deployment.run("init")
    deployment.create_user(LONG_EMAIL, PASSWORD)
    uris = ["--redirect-uri", f"{app}/back", "--post-logout-redirect-uri", f"{app}/after"]
    uris += ["--frontchannel-logout-uri", f"{app}/out", "--backchannel-logout-uri", f"{app}/backchannel"]
    client_id = json.loads(deployment.run("clients", "create", "--name", "Shop", *uris, "--json"))["client_id"]
    with RunningServer(deployment) as server:
        request = {"response_type": "code", "client_id": client_id, "scope": "openid", "redirect_uri": f"{app}/back"}
        request |= {"code_challenge": s256("v" * 43), "code_challenge_method": "S256"}
        page.goto(f"{server.url}/oauth/authorize?{urlencode(request)}")
        Site(server.url, client_id).sign_in(page)
        page.click("#allow")
        page.wait_for_url(f"{app}/back?**")
        request = {"client_id": client_id, "post_logout_redirect_uri": f"{app}/after", "state": "x"}
        page.goto(f"{server.url}/oauth/logout?{urlencode(request)}")
        with page.expect_request(f"{app}/out?**") as frame:
            page.click("#log-out", no_wait_after=True)
        page.wait_for_url(f"{app}/after?state=x", timeout=timeout_ms)
        parameters = parse_qs(urlsplit(frame.value.url).query)
        assert parameters["iss"] == [server.url]
        assert parameters["sid"][0]
