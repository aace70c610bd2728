"""``valetkey login``: a user at a terminal gets a token through the browser."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.support.user import EMAIL, PASSWORD, User


class Login:
    """The running command, which has printed its URL and waits for the browser."""

    def __init__(self, api: ApiServers, *arguments: str) -> None:
        command = api.first.deployment.command("login", "--issuer", api.url, "--no-browser", *arguments)
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        self.url = next(line.strip() for line in self._process.stderr if line.startswith("http"))

    @property
    def redirect_uri(self) -> str:
        return dict(parse_qsl(urlsplit(self.url).query))["redirect_uri"]

    def end(self) -> tuple[int, str, str]:
        """Wait until the command ends, and return its exit code, its output and its error output."""
        output, errors = self._process.communicate(timeout=20)
        return self._process.returncode, output, errors

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def maya() -> Iterator[User]:
    with User(EMAIL, PASSWORD) as user:
        yield user


def test_opening_the_printed_url_and_signing_in_yields_a_token(api: ApiServers, page: Page) -> None:
    login = Login(api, "--scope", "profile")

    with socket.create_connection(_address(login.redirect_uri)):  # browsers open connections that they never use
        page.goto(login.url)
        page.get_by_label("E-mail address").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.click("#sign-in")
        expect(page.get_by_text("Did you start this yourself?")).to_be_visible()
        page.click("#allow")
        expect(page.get_by_text("You can close this page")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "14px", "it has style"
        code, token, _ = login.end()

    assert code == 0
    assert api.call(token.strip()).json()["scope"] == ["profile"]


def test_resource_requests_a_token_for_another_api(api: ApiServers, maya: User) -> None:
    photos = "https://photos.example/v1"
    api.first.deployment.run("resources", "create", photos, "--scope", "profile notes:write")
    login = Login(api, "--scope", "profile", "--scope", "notes:write", "--resource", photos)
    httpx.get(maya.allow(login.url))
    code, token, _ = login.end()

    assert code == 0
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["aud"], claims["scope"]) == (photos, "notes:write profile")
    assert api.call(token.strip()).status_code == 401


def test_curl_runs_with_the_token_as_its_authorization_header(api: ApiServers, maya: User) -> None:
    login = Login(api, "--", "curl", "-sS", "-w", "%{http_code}", f"{api.url}/api/protected")
    httpx.get(maya.allow(login.url))
    code, output, _ = login.end()
    assert code == 0
    assert '"scope":["notes:write","profile"]' in output
    assert output.endswith("200")


def test_any_other_command_runs_with_the_token_in_its_environment(api: ApiServers, maya: User) -> None:
    login = Login(api, "--", "sh", "-c", 'printf "%s" "$VALETKEY_TOKEN"; exit 3')
    httpx.get(maya.allow(login.url))
    code, output, _ = login.end()
    assert code == 3
    assert api.call(output).status_code == 200


def test_the_command_fails_with_a_message_if_the_user_denies(api: ApiServers, maya: User) -> None:
    login = Login(api)
    assert "Not signed in" in httpx.get(maya.deny(login.url)).text
    assert login.end() == (1, "", "Error: not signed in: the resource owner denied the request\n")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("code=stolen&state=another", "the response does not belong to this sign-in; try again"),
        (
            "code=stolen&state={state}&iss=https://evil.example",
            "the response does not belong to this sign-in; try again",
        ),
        ("code=stolen&state={state}", "the response does not belong to this sign-in; try again"),
        ("code=made-up&state={state}&iss={issuer}", "no token:"),
    ],
    ids=["state of another sign-in", "code of another issuer", "code without an issuer", "unknown code"],
)
def test_an_authorization_response_for_another_request_yields_no_token(
    api: ApiServers, parameters: str, message: str
) -> None:
    login = Login(api)
    state = dict(parse_qsl(urlsplit(login.url).query))["state"]
    httpx.get(f"{login.redirect_uri}?{parameters.format(state=state, issuer=api.url)}")
    code, output, errors = login.end()
    assert (code, output) == (1, "")
    assert message in errors
    assert "Traceback" not in errors


def test_the_command_fails_with_a_message_if_the_issuer_is_not_an_authorization_server(api: ApiServers) -> None:
    command = api.first.deployment.command("login", "--issuer", "http://127.0.0.1:9", "--no-browser")
    process = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("Error: http://127.0.0.1:9 does not respond like an authorization server")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_an_unknown_command_ends_before_the_sign_in_with_the_status_of_a_shell(api: ApiServers) -> None:
    command = api.first.deployment.command("login", "--issuer", api.url, "--no-browser", "--", "no-such-program")
    completed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert completed.returncode == 127
    assert completed.stderr == "Error: unknown command no-such-program\n"
