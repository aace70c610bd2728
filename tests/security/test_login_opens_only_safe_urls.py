"""``valetkey login`` opens and calls only https and loopback URLs, whatever the metadata of a server says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from valetkey.cli import login as login_module
from valetkey.cli.login import login

UNSAFE_URLS = [
    *("file:///etc/passwd", "javascript:alert(1)", "data:text/html,hello", "ms-settings:home", "ftp://id.example/"),
    *("http://id.example/authorize", "http://127.0.0.1.id.example/authorize", "http://[::127.0.0.1]/authorize"),
    *("https:///authorize", "https://", "//id.example/authorize", "https://a@id.example/", "", None),
]


class MetadataServer:
    """An authorization server that has only metadata, on a loopback port."""

    def __init__(self) -> None:
        self.metadata: Any = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _make_handler(server: MetadataServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(server.metadata).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    return Handler


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    server = MetadataServer()
    server.metadata = {
        "issuer": server.issuer,
        "authorization_endpoint": f"{server.issuer}/authorize",
        "token_endpoint": f"{server.issuer}/token",
    }
    yield server
    server.close()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were opened in a browser, and those that were posted to."""
    urls: list[str] = []

    def record(url: str, **_: Any) -> bool:
        urls.append(url)
        return True

    monkeypatch.setattr(login_module.webbrowser, "open", record)
    monkeypatch.setattr(httpx, "post", record)
    monkeypatch.setattr(login_module, "_SIGN_IN_TIMEOUT_S", 0.01)
    return urls


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("url", UNSAFE_URLS)
def test_an_unsafe_endpoint_is_neither_opened_nor_called(
    server: MetadataServer, requests: list[str], name: str, url: str | None
) -> None:
    server.metadata |= {name: url}

    result = CliRunner().invoke(login, ["--issuer", server.issuer])

    assert result.exit_code == 1
    assert f"{name} {url} is not opened: " in result.output
    assert requests == []


@pytest.mark.parametrize("issuer", ["http://id.example", "file:///etc", "javascript:alert(1)"])
def test_metadata_is_not_read_over_an_unsafe_url(
    monkeypatch: pytest.MonkeyPatch, requests: list[str], issuer: str
) -> None:
    monkeypatch.setattr(httpx, "get", lambda url, **_: requests.append(url))

    result = CliRunner().invoke(login, ["--issuer", issuer])

    assert result.exit_code == 1
    assert f"the issuer {issuer} cannot be used: " in result.output
    assert requests == []


@pytest.mark.parametrize("url", ["https://id.example/authorize", "http://127.0.0.1:8000/authorize"])
def test_an_https_or_loopback_url_is_opened(server: MetadataServer, requests: list[str], url: str) -> None:
    server.metadata |= {"authorization_endpoint": url}

    CliRunner().invoke(login, ["--issuer", server.issuer])

    assert [opened.partition("?")[0] for opened in requests] == [url]


@pytest.mark.parametrize("metadata", [[], None, 5, "text", {"issuer": "\ud800"}])
def test_metadata_that_is_no_json_object_is_an_error_without_a_traceback(
    server: MetadataServer, requests: list[str], metadata: object
) -> None:
    server.metadata = metadata

    result = CliRunner().invoke(login, ["--issuer", server.issuer])

    assert (result.exit_code, requests) == (1, [])
    assert f"Error: {server.issuer} does not respond like an authorization server: " in result.output
