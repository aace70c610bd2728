"""The acts that are measured, as loads: what is sent, and what a right answer is."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import cycle, islice
from urllib.parse import quote, urlencode, urlsplit

import httpx

from benchmarks.load import Load
from benchmarks.people import Person
from benchmarks.servers import Client, Server

TOKENS = 512
FORM = "Content-Type: application/x-www-form-urlencoded"
ANY_TOKEN = '"access_token"%s*:%s*"'
JWT = ANY_TOKEN + 'eyJ[^."]+%.[^."]+%.[^."]+"'
OPAQUE = ANY_TOKEN + '[^."]+"'


def get_public(server: Server, path: str) -> Load:
    """A route for anybody."""
    return Load(server.url, "replay", _data(200, '"message"', [_head("GET", server.url + path) + "\r\n"]))


def call(server: Server, path: str) -> Load:
    """A protected route, with many tokens of many clients."""
    url = server.url + path
    requests = [_head("GET", url, f"Authorization: Bearer {token}") + "\r\n" for _, token in _machine_tokens(server)]
    return Load(server.url, "replay", _data(200, '"message"', requests))


def get_document(server: Server, path: str, pattern: str) -> Load:
    """A document that the server has for everybody."""
    return Load(server.url, "replay", _data(200, pattern, [_head("GET", server.url + path) + "\r\n"]))


def userinfo(server: Server, people: Sequence[Person]) -> Load:
    """Userinfo, with a token of each person's."""
    url = f"{server.url}/oauth/userinfo"
    requests = [_head("GET", url, f"Authorization: Bearer {one.tokens()['access_token']}") + "\r\n" for one in people]
    return Load(server.url, "replay", _data(200, '"sub"', requests))


def client_credentials(server: Server, pattern: str) -> Load:
    """Tokens for machines; ``pattern`` says of which format."""
    url = server.endpoints["token_endpoint"]
    requests = [_post(url, one, {"grant_type": "client_credentials", "scope": "profile"}) for one in server.machines]
    return Load(server.url, "replay", _data(200, pattern, requests))


def introspection(server: Server) -> Load:
    """Introspection of live tokens, each by the client that has it."""
    url = server.endpoints["introspection_endpoint"]
    requests = [_post(url, client, {"token": token}) for client, token in _machine_tokens(server)]
    return Load(server.url, "replay", _data(200, '"active"%s*:%s*true', requests))


def rotation(server: Server, people: Sequence[Person]) -> Load:
    """Refresh with rotation: each app rotates the tokens of its people."""
    url = server.endpoints["token_endpoint"]
    clients = [
        {
            "head": _head("POST", url, _basic(app), FORM),
            "refresh_tokens": [person.refresh_token() for person in people if person.app is app],
        }
        for app in server.apps
    ]
    return Load(server.url, "rotation", {"clients": clients}, threads=len(clients))


def code_flow(server: Server, people: Sequence[Person]) -> Load:
    """Authorization code with PKCE, of people who are signed in and have consented before."""
    url = server.endpoints["token_endpoint"]
    everybody = [
        {
            "authorize": _head("GET", person.authorization_url, f"Cookie: {person.cookie}") + "\r\n",
            "head": _head("POST", url, _basic(person.app), FORM),
            "redeem": urlencode(
                {
                    "grant_type": "authorization_code",
                    "redirect_uri": person.app.redirect_uri,
                    "code_verifier": person.verifier,
                }
            ),
        }
        for person in people
    ]
    return Load(server.url, "code_flow", {"people": everybody})


def get_token(server: Server, client: Client) -> str:
    """Answer one token of a machine."""
    answer = httpx.post(
        server.endpoints["token_endpoint"],
        data={"grant_type": "client_credentials", "scope": "profile"},
        auth=(client.client_id, client.client_secret),
    )
    if not answer.is_success:
        raise AssertionError(f"{server.name}: no token: {answer.status_code}\n{answer.text}")
    return str(answer.json()["access_token"])


def _machine_tokens(server: Server) -> list[tuple[Client, str]]:
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
