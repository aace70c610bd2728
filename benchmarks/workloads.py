"""The operations that are measured: which requests are sent, and what a correct response is."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import cycle, islice
from urllib.parse import quote, urlencode, urlsplit

import httpx

from benchmarks.load import Load
from benchmarks.servers import Client, Server
from benchmarks.users import User

TOKENS = 512  # different tokens in a load that presents tokens
FORM = "Content-Type: application/x-www-form-urlencoded"
ANY_TOKEN = '"access_token"%s*:%s*"'
JWT = ANY_TOKEN + 'eyJ[^."]+%.[^."]+%.[^."]+"'
OPAQUE = ANY_TOKEN + '[^."]+"'


def get_public(server: Server, path: str) -> Load:
    """Call a public route."""
    return Load(server.url, "replay", _data(200, '"message"', [_head("GET", server.url + path) + "\r\n"]))


def call(server: Server, path: str) -> Load:
    """Call a protected route with many tokens of many clients."""
    url = server.url + path
    requests = [_head("GET", url, f"Authorization: Bearer {token}") + "\r\n" for _, token in _machine_tokens(server)]
    return Load(server.url, "replay", _data(200, '"message"', requests))


def call_with(server: Server, path: str, tokens: Sequence[str], *, status: int = 200) -> Load:
    """Call a protected route with each of these tokens in turn.

    :param status: the status of each response; 429 for a route whose budget is used up.
    """
    url = server.url + path
    requests = [_head("GET", url, f"Authorization: Bearer {token}") + "\r\n" for token in tokens]
    return Load(server.url, "replay", _data(status, '"message"' if status == 200 else '"title"', requests))


def use_up_budgets(server: Server, path: str, tokens: Sequence[str]) -> None:
    """Call a route whose limit admits one call, once with each token."""
    with httpx.Client(base_url=server.url) as http:
        for token in tokens:
            http.get(path, headers={"Authorization": f"Bearer {token}"})


def get_document(server: Server, path: str, pattern: str) -> Load:
    """Fetch a public document that matches ``pattern``, such as the metadata."""
    return Load(server.url, "replay", _data(200, pattern, [_head("GET", server.url + path) + "\r\n"]))


def userinfo(server: Server, users: Sequence[User]) -> Load:
    """Call userinfo with one token of each user."""
    url = f"{server.url}/oauth/userinfo"
    requests = [_head("GET", url, f"Authorization: Bearer {user.tokens()['access_token']}") + "\r\n" for user in users]
    return Load(server.url, "replay", _data(200, '"sub"', requests))


def client_credentials(server: Server, pattern: str) -> Load:
    """Request tokens with client credentials. The responses must match ``pattern``: ``JWT`` or ``OPAQUE``."""
    url = server.endpoints["token_endpoint"]
    form = {"grant_type": "client_credentials", "scope": "profile"}
    requests = [_post(url, client, form) for client in server.machines]
    return Load(server.url, "replay", _data(200, pattern, requests))


def introspection(server: Server) -> Load:
    """Introspect active tokens, each by the client that it was issued to."""
    url = server.endpoints["introspection_endpoint"]
    requests = [_post(url, client, {"token": token}) for client, token in _machine_tokens(server)]
    return Load(server.url, "replay", _data(200, '"active"%s*:%s*true', requests))


def rotation(server: Server, users: Sequence[User]) -> Load:
    """Refresh with rotation: each app uses the refresh tokens of its users in turn."""
    url = server.endpoints["token_endpoint"]
    clients = [
        {
            "head": _head("POST", url, _basic(app), FORM),
            "refresh_tokens": [user.refresh_token() for user in users if user.app is app],
        }
        for app in server.apps
    ]
    return Load(server.url, "rotation", {"clients": clients}, threads=len(clients))


def code_flow(server: Server, users: Sequence[User]) -> Load:
    """Run the authorization code flow with PKCE, for users who are signed in and have consented before."""
    url = server.endpoints["token_endpoint"]
    requests = [
        {
            "authorize": _head("GET", user.authorization_url, f"Cookie: {user.cookie}") + "\r\n",
            "head": _head("POST", url, _basic(user.app), FORM),
            "redeem": urlencode(
                {
                    "grant_type": "authorization_code",
                    "redirect_uri": user.app.redirect_uri,
                    "code_verifier": user.verifier,
                }
            ),
        }
        for user in users
    ]
    return Load(server.url, "code_flow", {"users": requests})


def get_token(server: Server, client: Client) -> str:
    """Return a new access token, with client credentials.

    :raises AssertionError: if the server issues none.
    """
    response = httpx.post(
        server.endpoints["token_endpoint"],
        data={"grant_type": "client_credentials", "scope": "profile"},
        auth=(client.client_id, client.client_secret),
    )
    if not response.is_success:
        raise AssertionError(f"{server.name}: no token: {response.status_code}\n{response.text}")
    return str(response.json()["access_token"])


def _machine_tokens(server: Server) -> list[tuple[Client, str]]:
    """Return ``TOKENS`` new access tokens, each with its client."""
    return [(client, get_token(server, client)) for client in islice(cycle(server.machines), TOKENS)]


def _data(status: int, pattern: str, requests: list[str]) -> dict[str, object]:
    return {"status": status, "pattern": pattern, "requests": requests}


def _head(method: str, url: str, *headers: str) -> str:
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", *headers))


def _post(url: str, client: Client, body: dict[str, str]) -> str:
    text = urlencode(body)
    return _head("POST", url, _basic(client), FORM, f"Content-Length: {len(text)}") + f"\r\n{text}"


def _basic(client: Client) -> str:
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"  # RFC 6749 §2.3.1
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"
