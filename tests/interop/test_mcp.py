"""MCP clients that have only the URL of an MCP server discover Valetkey, sign in and use the server's tools."""

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
CLIENT_METADATA = {
    "client_name": "Assistant",
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


@dataclass(frozen=True)
class Document:
    """A client metadata document at an https URL, which is the ``client_id``."""

    url: str
    certificate: Path


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Document]:
    """The metadata document of the MCP client."""
    with WebServer(certificate_dir=tmp_path_factory.mktemp("document")) as web:
        url = f"{web.url}/assistant"
        web.pages["/assistant"] = ("application/json", json.dumps({"client_id": url, **CLIENT_METADATA}).encode())
        yield Document(url, web.certificate)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, document: Document) -> Iterator[NotesServer]:
    """The MCP server of ``examples/mcp_server``."""
    folder, trusted = tmp_path_factory.mktemp("mcp"), str(document.certificate)
    with run_notes_server(folder, EMAIL, PASSWORD, outbound_ca_file=trusted) as running:
        yield running


class AssistantState:
    """The token storage of an MCP client; its user signs in and allows access."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.authorization_requests: list[dict[str, str]] = []
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None
        self._callback_url = ""

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def open_authorization_page(self, url: str) -> None:
        self.authorization_requests.append(dict(parse_qsl(urlsplit(url).query)))
        self._callback_url = self.user.allow(url)

    async def wait_for_callback(self) -> AuthorizationCodeResult:
        parameters = dict(parse_qsl(urlsplit(self._callback_url).query))
        assert "code" in parameters, self._callback_url
        return AuthorizationCodeResult(code=parameters["code"], state=parameters["state"], iss=parameters["iss"])


def _use_notes(notes: NotesServer, state: AssistantState, client_metadata_url: str | None) -> list[str]:
    """Read the notes, add a note, expire the token and read the notes again; return the texts of the last result."""

    async def use() -> list[str]:
        provider = OAuthClientProvider(
            notes.url,
            OAuthClientMetadata.model_validate(CLIENT_METADATA),
            state,
            redirect_handler=state.open_authorization_page,
            callback_handler=state.wait_for_callback,
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
            second = await client.call_tool("read_notes")
            return [content.text for content in second.content if content.type == "text"]

    with ThreadPoolExecutor(1) as executor:  # this thread may have the event loop of another test's browser
        return executor.submit(anyio.run, use).result()


@pytest.mark.parametrize("identification", ["metadata document", "registration"])
def test_the_python_client_discovers_signs_in_steps_up_and_refreshes(
    notes: NotesServer, document: Document, maya: User, identification: str
) -> None:
    state = AssistantState(maya)

    read = _use_notes(notes, state, document.url if identification == "metadata document" else None)

    assert "Buy stamps" in read
    assert state.client is not None
    assert (state.client.client_id == document.url) is (identification == "metadata document")
    first, second = state.authorization_requests
    assert (set(first["scope"].split()), first["resource"]) == ({"notes:read", "offline_access"}, notes.url)
    assert set(second["scope"].split()) == {"notes:read", "notes:write", "offline_access"}
    signed_in, stepped_up, refreshed = state.tokens
    assert "notes:write" not in (signed_in.scope or "").split()
    assert "notes:write" in (stepped_up.scope or "").split()
    assert refreshed.scope == stepped_up.scope
    assert len({token.access_token for token in state.tokens}) == 3


@pytest.mark.parametrize("identification", ["metadata document", "registration"])
def test_the_javascript_client_discovers_signs_in_steps_up_and_refreshes(
    notes: NotesServer, document: Document, maya: User, identification: str
) -> None:
    configuration = {
        "url": notes.url,
        "about": CLIENT_METADATA,
        "document": document.url if identification == "metadata document" else None,
    }

    result = run_node_program("mcp_client.mjs", configuration, maya)

    assert "Buy stamps" in result["read"]
    assert (result["client_id"] == document.url) is (identification == "metadata document")
    first, refreshed, stepped_up, again = [set(scope.split()) for scope in result["scopes"]]
    assert first == refreshed == {"notes:read"}
    assert stepped_up == again == {"notes:read", "notes:write"}
    assert len(set(result["tokens"])) == 4


def test_the_mcp_server_accepts_only_tokens_that_were_issued_for_it(notes: NotesServer, maya: User) -> None:
    state = AssistantState(maya)
    _use_notes(notes, state, None)
    token = state.tokens[-1].access_token
    header, claims, signature = token.split(".")

    assert _status(notes, token) != httpx.codes.UNAUTHORIZED
    assert _status(notes, f"{header}.{claims}.{signature[::-1]}") == httpx.codes.UNAUTHORIZED
    assert _status(notes, _machine_token(notes)) == httpx.codes.UNAUTHORIZED


def _machine_token(notes: NotesServer) -> str:
    """Return an access token of the same issuer with the same scope, but for the issuer's own API."""
    created = notes.deployment.create_client("machine", scope="notes:read")
    form = {
        "grant_type": "client_credentials",
        "client_id": created["client_id"],
        "client_secret": created["client_secret"],
    }
    return str(httpx.post(f"{notes.issuer}/oauth/token", data=form).raise_for_status().json()["access_token"])


def _status(notes: NotesServer, token: str) -> int:
    return httpx.post(notes.url, headers={"Authorization": f"Bearer {token}"}, json={}).status_code
