"""What the three logout specifications' tests share: Ada, signed in at relying parties, and their servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.browser_client import Browser
from valetkey.authorization_server.clients.service import CreatedClient

POST_LOGOUT_REDIRECT_URI = "https://shop.example/after"


def with_client(browser: Browser, client: CreatedClient) -> Browser:
    """The same browser at another relying party."""
    return Browser(browser.http, client)


def obtain_openid_tokens(browser: Browser, *scope: str) -> dict[str, Any]:
    """The tokens of a sign-in at the browser's relying party."""
    return browser.obtain_tokens(scope=("openid", *scope))


def decode_token(browser: Browser, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token of ours, its signature verified."""
    keys = KeySet.import_key_set(browser.get("/oauth/jwks").json)
    read = jwt.decode(token, keys, algorithms=["RS256", "ES256"])
    return dict(read.header), dict(read.claims)


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def submit_logout_confirmation(browser: Browser, confirmation_page: Any, decision: str) -> Any:
    """Press a button of the confirmation page."""
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', confirmation_page.text))
    return browser.http.post("/oauth/logout/confirm", data={**fields, "decision": decision})


class LogoutTokenReceiver:
    """A server that keeps the logout tokens it is sent, and answers with a status."""

    def __init__(self) -> None:
        self.status = 200
        self.may_respond, self.token_received = Event(), Event()
        self.may_respond.set()  # cleared: it takes the token and leaves the sender waiting
        self.logout_tokens: list[str] = []
        self.url = ""


@contextmanager
def run_logout_token_receiver() -> Iterator[LogoutTokenReceiver]:
    party = LogoutTokenReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            party.logout_tokens += parse_qs(body)["logout_token"]
            party.token_received.set()
            party.may_respond.wait(4)
            self.send_response(party.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        party.url = f"http://127.0.0.1:{server.server_port}/backchannel"
        try:
            yield party
        finally:
            server.shutdown()
            thread.join()
