"""Debian's mod_oauth2 as a resource server, configured as in docs/other_apis.md, with JWTs and with introspection."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.interop.apache import Apache
from tests.support.readme_blocks import find_blocks, read_page
from tests.support.user import CALLBACK, EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer

PAGE = read_page("other_apis.md")
API, OTHER_API = "https://files.example.com", "https://photos.example.com"
_VERIFIER = "a-code-verifier-of-at-least-forty-three-characters"
_CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(_VERIFIER.encode()).digest()).decode().rstrip("=")
_SEEN_CLAIMS = """
# the application behind Apache reads these values; the test reads them from the response
Header set Seen-User "expr=%{REMOTE_USER}"
Header set Seen-Claims "expr=%{HTTP:OAUTH2_CLAIM_sub} %{HTTP:OAUTH2_CLAIM_scope}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the API of the page, another API, and Maya's account."""
    issuer, scopes, create = find_blocks("Register the API", "sh", PAGE)[0].splitlines()
    assert issuer == "export VALETKEY_ISSUER=https://auth.example.com"
    declared = shlex.split(scopes)[1].removeprefix("VALETKEY_SCOPES=")
    deployment = Deployment(tmp_path_factory.mktemp("mod_oauth2"), settings={"scopes": declared})
    deployment.run("init")
    _run(deployment, create)
    deployment.run("resources", "create", OTHER_API)
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


@pytest.fixture(scope="module")
def introspection_client(server: RunningServer) -> dict[str, str]:
    """The credentials of the API, which may introspect its own tokens."""
    created = _run(server.deployment, find_blocks("Apache with introspection", "sh", PAGE)[0] + " --json")
    return dict(json.loads(created))


@pytest.fixture(scope="module", params=["JWTs", "introspection"])
def files(server: RunningServer, introspection_client: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a page below ``/files/``, which Apache protects in both ways of the page."""
    site = find_blocks("Apache with JWTs", "apache", PAGE)[0]
    if request.param == "introspection":
        (by_keys,) = (line for line in site.splitlines(keepends=True) if "OAuth2TokenVerify" in line)
        by_introspection = find_blocks("Apache with introspection", "apache", PAGE)[0]
        site = site.replace(by_keys, by_introspection.replace("CLIENT_SECRET", introspection_client["client_secret"]))
    site = site.replace("https://auth.example.com", server.issuer).replace("expiry=10", "expiry=2")
    apache = Apache("oauth2", "libapache2-mod-oauth2", "/files/page")
    with apache.configure(site + _SEEN_CLAIMS) as running:
        yield running.page_url


@pytest.fixture(scope="module")
def app(server: RunningServer) -> dict[str, Any]:
    """An app that acts for itself."""
    return server.deployment.create_client("machine", scope="files:read files:write")


@pytest.mark.parametrize("scope", ["files:read", "files:write files:read"])
def test_an_access_token_for_the_api_is_accepted(
    server: RunningServer, files: str, app: dict[str, Any], scope: str
) -> None:
    response = _get(files, _app_token(server, app, scope=scope))

    assert (response.status_code, response.text) == (200, "The page behind.\n")
    assert response.headers["Seen-User"] == app["client_id"]
    assert response.headers["Seen-Claims"].split() == [app["client_id"], *sorted(scope.split())]


def test_a_request_without_a_token_is_refused(files: str) -> None:
    response = httpx.get(files, headers={"OAUTH2_CLAIM_sub": "maya", "OAUTH2_CLAIM_scope": "files:read"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_without_the_scope_is_refused(server: RunningServer, files: str, app: dict[str, Any]) -> None:
    response = _get(files, _app_token(server, app, scope="files:write"))

    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


def test_a_token_for_another_api_is_refused(server: RunningServer, files: str, app: dict[str, Any]) -> None:
    assert _get(files, _app_token(server, app, resource=OTHER_API)).status_code in {401, 403}


def test_a_token_with_another_signature_is_refused(server: RunningServer, files: str, app: dict[str, Any]) -> None:
    signed, signature = _app_token(server, app).rsplit(".", 1)
    other = _app_token(server, app).rsplit(".", 1)[1]

    assert signature != other
    assert _get(files, f"{signed}.{other}").status_code == 401


def test_the_access_token_of_a_user_is_accepted_and_the_id_token_is_refused(
    server: RunningServer, files: str, maya: User
) -> None:
    client = server.deployment.create_client("web", scope="openid files:read", redirect_uris=[CALLBACK])
    request = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": CALLBACK,
        "scope": "openid files:read",
        "resource": API,
        "code_challenge": _CHALLENGE,
        "code_challenge_method": "S256",
    }
    callback = maya.allow(f"{server.issuer}/oauth/authorize?{urlencode(request)}")
    code = parse_qs(urlsplit(callback).query)["code"][0]
    tokens = _request_tokens(
        server, client, grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=_VERIFIER
    )

    accepted = _get(files, tokens["access_token"])
    assert accepted.status_code == 200
    assert accepted.headers["Seen-User"] not in {"", client["client_id"]}
    assert _get(files, tokens["id_token"]).status_code in {401, 403}


@pytest.mark.parametrize("files", ["introspection"], indirect=True)
def test_a_revoked_token_is_refused_when_the_cached_response_has_expired(
    server: RunningServer, files: str, app: dict[str, Any]
) -> None:
    token = _app_token(server, app)
    assert _get(files, token).status_code == 200

    credentials = (app["client_id"], app["client_secret"])
    httpx.post(f"{server.issuer}/oauth/revoke", data={"token": token}, auth=credentials).raise_for_status()

    deadline = time.monotonic() + 20
    while _get(files, token).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_client_of_the_api_can_introspect_only_what_the_operator_chose(
    server: RunningServer, introspection_client: dict[str, str], app: dict[str, Any]
) -> None:
    tokens = [_app_token(server, app), _app_token(server, app, resource=OTHER_API)]

    def are_active() -> list[bool]:
        credentials = (introspection_client["client_id"], introspection_client["client_secret"])
        responses = [
            httpx.post(f"{server.issuer}/oauth/introspect", data={"token": token}, auth=credentials) for token in tokens
        ]
        return [response.raise_for_status().json()["active"] for response in responses]

    assert are_active() == [True, False]
    update = find_blocks("Choose which tokens the API may introspect", "sh", PAGE)[0] + " --yes"
    _run(server.deployment, update)
    try:
        assert are_active() == [True, True]
    finally:
        _run(server.deployment, update.replace(f" --introspection-resource {OTHER_API}", ""))


def _run(deployment: Deployment, command: str) -> str:
    """Run a command of the page."""
    return deployment.run(*shlex.split(command.replace("\\\n", ""))[1:])


def _app_token(server: RunningServer, app: dict[str, Any], scope: str = "files:read", resource: str = API) -> str:
    """Return an access token that the app gets for itself."""
    tokens = _request_tokens(server, app, grant_type="client_credentials", scope=scope, resource=resource)
    return str(tokens["access_token"])


def _request_tokens(server: RunningServer, client: dict[str, Any], **parameters: str) -> dict[str, Any]:
    credentials = (client["client_id"], client["client_secret"])
    response = httpx.post(f"{server.issuer}/oauth/token", data=parameters, auth=credentials)
    return dict(response.raise_for_status().json())


def _get(url: str, token: str) -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"})
