"""Helpers of the logout tests: sign in at relying parties, and receive their back-channel logout tokens."""

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
    """Return the same browser with another relying party."""
    return Browser(browser.http, client)


def obtain_openid_tokens(browser: Browser, *scope: str) -> dict[str, Any]:
    """Sign in at the browser's relying party and return the tokens."""
    return browser.obtain_tokens(scope=("openid", *scope))


def decode_token(browser: Browser, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify the signature of a token from Valetkey and return its header and claims."""
    key_set = KeySet.import_key_set(browser.get("/oauth/jwks").json)
    decoded = jwt.decode(token, key_set, algorithms=["RS256", "ES256"])
    return dict(decoded.header), dict(decoded.claims)


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def submit_logout_confirmation(browser: Browser, confirmation_page: Any, decision: str) -> Any:
    """Press a button of the confirmation page: ``log-out`` or ``stay``."""
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', confirmation_page.text))
    return browser.http.post("/oauth/logout/confirm", data={**fields, "decision": decision})


class LogoutTokenReceiver:
    """A back-channel logout endpoint that stores the logout tokens it receives and responds with ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.may_respond, self.token_received = Event(), Event()
        self.may_respond.set()  # if cleared, the sender waits for a response
        self.logout_tokens: list[str] = []
        self.url = ""


@contextmanager
def run_logout_token_receiver() -> Iterator[LogoutTokenReceiver]:
    """Run a receiver in a thread until the context ends."""
    receiver = LogoutTokenReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            receiver.logout_tokens += parse_qs(body)["logout_token"]
            receiver.token_received.set()
            receiver.may_respond.wait(4)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/backchannel"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
