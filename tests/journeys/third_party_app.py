"""A third-party web app: sends users to the authorization server and receives the redirect."""

from __future__ import annotations

import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from valetkey.protocol.pkce import s256


class ThirdPartyApp:
    """A web app on a loopback port, as an OAuth client.

    :ivar credentials: its ``client_id`` and ``client_secret``, set after registration.
    :ivar verify: the TLS verification of its requests, as httpx takes it.
    """

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _CallbackHandler)
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}/callback"
        self.verify: ssl.SSLContext | bool = True
        self.credentials: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self._verifier = self._state = ""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def client_id(self) -> str:
        """The app's ``client_id``."""
        return str(self.credentials["client_id"])

    def start_authorization(self, metadata: dict[str, Any], *, scope: str) -> str:
        """Return the URL of a new authorization request, to which the app sends its user."""
        self._metadata = metadata
        self._verifier, self._state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": self._state,
            "code_challenge": s256(self._verifier),
            "code_challenge_method": "S256",
        }
        return f"{metadata['authorization_endpoint']}?{urlencode(parameters)}"

    def read_callback(self, callback_url: str) -> dict[str, str]:
        """Return the other parameters of an authorization response, after checking its ``state`` and ``iss``."""
        assert callback_url.startswith(self.redirect_uri), callback_url
        response = dict(parse_qsl(urlsplit(callback_url).query))
        assert response.pop("state") == self._state
        assert response.pop("iss") == self._metadata["issuer"]  # RFC 9207 §2.4
        return response

    def redeem(self, callback_url: str) -> dict[str, Any]:
        """Redeem the code of an authorization response and return the token response."""
        grant = {"grant_type": "authorization_code", "code": self.read_callback(callback_url)["code"]}
        grant |= {"redirect_uri": self.redirect_uri, "code_verifier": self._verifier}
        return self._request_tokens(grant).raise_for_status().json()

    def refresh(self, refresh_token: str) -> httpx.Response:
        """Send a refresh token request."""
        return self._request_tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def call(self, url: str, access_token: str) -> httpx.Response:
        """Call an API with a token."""
        return httpx.get(url, headers={"Authorization": f"Bearer {access_token}"}, verify=self.verify)

    def _request_tokens(self, parameters: dict[str, str]) -> httpx.Response:
        auth = (self.client_id, str(self.credentials["client_secret"]))
        return httpx.post(self._metadata["token_endpoint"], data=parameters, auth=auth, timeout=30, verify=self.verify)


class _CallbackHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>The app</title><p>Back at the app.")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the path contains a code."""
