"""Front-channel logout in a real browser: the policy lets the frame load, and the page goes on by itself."""

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

from tests.pages.site import LONG_EMAIL, SCOPES, Site
from tests.support.user import PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.protocol.pkce import s256


@pytest.fixture
def answers() -> Event:
    """Set: the relying party answers in its frame."""
    return Event()


@pytest.fixture
def party(answers: Event) -> Iterator[ThreadingHTTPServer]:
    """A relying party's server that answers everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/out"):
                answers.wait(30)
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
        answers.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("is_slow", "most"), [(False, 2_500), (True, 8_000)], ids=["at once", "after 3 s"])
def test_the_app_is_told_in_a_frame_and_the_person_goes_on_to_it(
    party: ThreadingHTTPServer, answers: Event, tmp_path: Path, page: Page, is_slow: bool, most: int
) -> None:
    """At once when the frame is loaded; and where it never is, after three seconds."""
    if not is_slow:
        answers.set()
    app = f"http://127.0.0.1:{party.server_port}"
    deployment = Deployment(tmp_path, settings={"scopes": SCOPES})
    deployment.run("init")
    deployment.create_user(LONG_EMAIL, PASSWORD)
    uris = ["--redirect-uri", f"{app}/back", "--post-logout-redirect-uri", f"{app}/after"]
    uris += ["--frontchannel-logout-uri", f"{app}/out", "--backchannel-logout-uri", f"{app}/told"]
    client_id = json.loads(deployment.run("clients", "create", "--name", "Shop", *uris, "--json"))["client_id"]
    with RunningServer(deployment) as server:
        asked = {"response_type": "code", "client_id": client_id, "scope": "openid", "redirect_uri": f"{app}/back"}
        asked |= {"code_challenge": s256("v" * 43), "code_challenge_method": "S256"}
        page.goto(f"{server.url}/oauth/authorize?{urlencode(asked)}")
        Site(server.url, client_id).sign_in(page)
        page.click("#allow")
        page.wait_for_url(f"{app}/back?**")
        after = urlencode({"client_id": client_id, "post_logout_redirect_uri": f"{app}/after", "state": "x"})
        page.goto(f"{server.url}/oauth/logout?{after}")
        with page.expect_request(f"{app}/out?**") as frame:
            page.click("#log-out", no_wait_after=True)
        page.wait_for_url(f"{app}/after?state=x", timeout=most)
        told = parse_qs(urlsplit(frame.value.url).query)
        assert told["iss"] == [server.url]
        assert told["sid"][0]
