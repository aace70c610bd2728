"""MCP clients that know the URL of a server, and nothing else, come to its tools by way of Valetkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.interop.mcp_server import NotesServer, run_notes_server
from tests.interop.node_program import run_node_program
from tests.interop.web_server import WebServer
from tests.support.user import EMAIL, PASSWORD, User

CALLBACK = "http://127.0.0.1:49152/callback"
ABOUT = {
    "client_name": "Assistant",
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


@dataclass(frozen=True)
class Document:
    """What the assistant says of itself, at an https URL that is its ``client_id``."""

    url: str
    certificate: Path


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Document]:
    """The assistant's metadata document."""
    with WebServer(certificate_dir=tmp_path_factory.mktemp("document")) as web:
        url = f"{web.url}/assistant"
        web.pages["/assistant"] = ("application/json", json.dumps({"client_id": url, **ABOUT}).encode())
        yield Document(url, web.certificate)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, document: Document) -> Iterator[NotesServer]:
    """The MCP server of the example."""
    folder, trusted = tmp_path_factory.mktemp("mcp"), str(document.certificate)
    with run_notes_server(folder, EMAIL, PASSWORD, outbound_ca_file=trusted) as running:
        yield running


class Kept:
    """What an assistant keeps between its calls; also the person who sits before it."""

    def __init__(self, person: User) -> None:
        self.person = person
        self.visited: list[dict[str, str]] = []
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None
        self._answer = ""

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def visit(self, url: str) -> None:
        self.visited.append(dict(parse_qsl(urlsplit(url).query)))
        self._answer = self.person.allow(url)

    async def answer(self) -> AuthorizationCodeResult:
        sent = dict(parse_qsl(urlsplit(self._answer).query))
        assert "code" in sent, self._answer
        return AuthorizationCodeResult(code=sent["code"], state=sent["state"], iss=sent["iss"])


def _use_the_notes(notes: NotesServer, kept: Kept, client_metadata_url: str | None) -> list[str]:
    """Read the notes, add one, wait until the token is out of date, and read them again."""

    async def use() -> list[str]:
        provider = OAuthClientProvider(
            notes.url,
            OAuthClientMetadata.model_validate(ABOUT),
            kept,
            redirect_handler=kept.visit,
            callback_handler=kept.answer,
            client_metadata_url=client_metadata_url,
        )
        async with (
            httpx2.AsyncClient(auth=provider, timeout=30) as http,
            Client(streamable_http_client(notes.url, http_client=http)) as client,
        ):
            first = await client.call_tool("read_notes")
            assert not first.is_error
            added = await client.call_tool("add_note", {"text": "Buy stamps"})
            assert not added.is_error
            provider.context.token_expiry_time = 1
            again = await client.call_tool("read_notes")
            return [content.text for content in again.content if content.type == "text"]

    with ThreadPoolExecutor(1) as own:  # a browser that another test started has a loop in this thread
        return own.submit(anyio.run, use).result()


@pytest.mark.parametrize("way_in", ["metadata document", "registration"])
def test_the_python_client_finds_signs_in_steps_up_and_refreshes(
    notes: NotesServer, document: Document, maya: User, way_in: str
) -> None:
    kept = Kept(maya)

    read = _use_the_notes(notes, kept, document.url if way_in == "metadata document" else None)

    assert "Buy stamps" in read
    assert kept.client is not None
    assert (kept.client.client_id == document.url) is (way_in == "metadata document")
    first, second = kept.visited
    assert (set(first["scope"].split()), first["resource"]) == ({"notes:read", "offline_access"}, notes.url)
    assert set(second["scope"].split()) == {"notes:read", "notes:write", "offline_access"}
    signed_in, stepped_up, refreshed = kept.tokens
    assert "notes:write" not in (signed_in.scope or "").split()
    assert "notes:write" in (stepped_up.scope or "").split()
    assert refreshed.scope == stepped_up.scope
    assert len({token.access_token for token in kept.tokens}) == 3


@pytest.mark.parametrize("way_in", ["metadata document", "registration"])
def test_the_javascript_client_finds_signs_in_steps_up_and_refreshes(
    notes: NotesServer, document: Document, maya: User, way_in: str
) -> None:
    told = {"url": notes.url, "about": ABOUT, "document": document.url if way_in == "metadata document" else None}

    seen = run_node_program("mcp_client.mjs", told, maya)

    assert "Buy stamps" in seen["read"]
    assert (seen["client_id"] == document.url) is (way_in == "metadata document")
    first, refreshed, stepped_up, again = [set(scope.split()) for scope in seen["scopes"]]
    assert first == refreshed == {"notes:read"}
    assert stepped_up == again == {"notes:read", "notes:write"}
    assert len(set(seen["tokens"])) == 4


def test_the_mcp_server_accepts_only_what_was_signed_for_it(notes: NotesServer, maya: User) -> None:
    kept = Kept(maya)
    _use_the_notes(notes, kept, None)
    own = kept.tokens[-1].access_token
    head, claims, signature = own.split(".")

    assert _status(notes, own) != httpx.codes.UNAUTHORIZED
    assert _status(notes, f"{head}.{claims}.{signature[::-1]}") == httpx.codes.UNAUTHORIZED
    assert _status(notes, _machine_token(notes)) == httpx.codes.UNAUTHORIZED


def _machine_token(notes: NotesServer) -> str:
    """An access token of the same issuer, with the same scope, for its own API."""
    made = notes.deployment.create_client("machine", scope="notes:read")
    sent = {"grant_type": "client_credentials", "client_id": made["client_id"], "client_secret": made["client_secret"]}
    return str(httpx.post(f"{notes.issuer}/oauth/token", data=sent).raise_for_status().json()["access_token"])


def _status(notes: NotesServer, token: str) -> int:
    return httpx.post(notes.url, headers={"Authorization": f"Bearer {token}"}, json={}).status_code
