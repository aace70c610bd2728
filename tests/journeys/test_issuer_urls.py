"""The whole flow for each kind of issuer URL: with a path, on IPv6, on another port, behind a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.form import parse_forms
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.pkce import s256

CALLBACK, AFTER_LOGOUT, VERIFIER = "https://shop.example/callback", "https://shop.example/after", "v" * 43
PROXY = {
    "Host": "inside:8080",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "id.example",
    "X-Forwarded-Proto": "https",
}
STRIPPED_PATH = "with a path that a proxy strips"
# The issuer, and the headers of a request that reaches the server.
ISSUERS: dict[str, tuple[str, dict[str, str]]] = {
    STRIPPED_PATH: ("https://id.example/tenant", PROXY),
    "with a path": ("http://127.0.0.1:8000/tenant", {}),
    "IPv6": ("http://[::1]:8000", {"Host": "[::1]:8000"}),
    "another port": ("http://127.0.0.1:49999", {"Host": "127.0.0.1:49999"}),
    "behind a proxy": ("https://id.example", PROXY),
    "with a forged Host header": ("http://127.0.0.1:8000", {"Host": "evil.example"}),
}


@dataclass
class CheckingClient:
    """HTTP client that sends requests only to URLs of the issuer, and checks that responses name no other host.

    :ivar headers: headers of a request as the server receives it.
    :ivar stripped_path: start of the path that a proxy strips.
    """

    issuer: str
    headers: dict[str, str]
    http: FlaskClient
    stripped_path: str = ""

    def send(self, method: str, url: str, **options: Any) -> TestResponse:
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == _origin(self.issuer), url
        path = parts.path.removeprefix(self.stripped_path) + (f"?{parts.query}" if parts.query else "")
        headers = {**self.headers, **options.pop("headers", {})}
        response = self.http.open(path, method=method, headers=headers, **options)
        assert "evil.example" not in response.text and "inside:8080" not in response.text
        return response

    def get_json(self, url: str) -> dict[str, Any]:
        response = self.send("GET", url)
        assert response.status_code == 200, response.text
        return dict(response.json or {})

    def press(self, url: str, button: str, **values: str) -> str:
        """Follow redirects to a page with this button, fill in the form, press it, and return the redirect's URL."""
        page = self.send("GET", url)
        while page.location:
            url = urljoin(url, page.location)
            page = self.send("GET", url)
        form = next(form for form in parse_forms(page.text) if button in form.buttons)
        body: dict[str, list[str]] = {}
        for name, value in form.fill_in(values, button):
            body.setdefault(name, []).append(value)
        response = self.send("POST", urljoin(url, form.action), data=body)
        return urljoin(url, response.location)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.mark.parametrize("kind", ISSUERS)
def test_all_urls_from_discovery_to_logout_are_urls_of_the_issuer(
    make_app: MakeApp, sqlite_store_url: str, kind: str
) -> None:
    issuer, headers = ISSUERS[kind]
    app = make_app(sqlite_store_url, issuer=issuer, trusted_proxies=("127.0.0.0/8",))
    members = {"post_logout_redirect_uris": [AFTER_LOGOUT]}
    client = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="Shop",
        policy="native",
        redirect_uris=[CALLBACK],
        members=members,
    )
    http = CheckingClient(issuer, headers, app.test_client(), "/tenant" if kind == STRIPPED_PATH else "")

    metadata = http.get_json(f"{issuer}/.well-known/openid-configuration")
    path = urlsplit(issuer).path
    assert http.get_json(f"{_origin(issuer)}/.well-known/oauth-authorization-server{path}")["issuer"] == issuer
    endpoints = [value for name, value in metadata.items() if name.endswith(("_endpoint", "jwks_uri"))]
    assert metadata["issuer"] == issuer and all(url.startswith(f"{issuer}/oauth/") for url in endpoints)

    account = {"name": "Ada", "email": "ada@example.org", "password": "a violet tram in june"}
    assert http.press(f"{issuer}/account/sign-up", "sign-up", **account).startswith(f"{issuer}/account")
    parameters = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid email",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
    }
    callback_url = http.press(f"{metadata['authorization_endpoint']}?{urlencode(parameters)}", "allow")
    callback = dict(parse_qsl(urlsplit(callback_url).query))
    assert callback_url.startswith(CALLBACK) and callback["iss"] == issuer

    def request_tokens(**form: str) -> dict[str, Any]:
        response = http.send("POST", metadata["token_endpoint"], data={"client_id": client.client_id, **form})
        assert response.status_code == 200, response.text
        return dict(response.json or {})

    first = request_tokens(
        grant_type="authorization_code", code=callback["code"], code_verifier=VERIFIER, redirect_uri=CALLBACK
    )
    second = request_tokens(grant_type="refresh_token", refresh_token=first["refresh_token"])
    bearer = {"Authorization": f"Bearer {second['access_token']}"}
    assert http.send("GET", metadata["userinfo_endpoint"], headers=bearer).json["email"] == "ada@example.org"

    form = {"client_id": client.client_id}
    device = http.send("POST", metadata["device_authorization_endpoint"], data=form).json
    assert device["verification_uri"] == f"{issuer}/device"
    assert http.send("GET", device["verification_uri_complete"]).status_code == 200

    resource = http.get_json(f"{_origin(issuer)}/.well-known/oauth-protected-resource{path}")
    assert (resource["resource"], resource["authorization_servers"]) == (issuer, [issuer])
    refused = http.send("GET", f"{issuer}/api/protected")
    assert (
        f'resource_metadata="{_origin(issuer)}/.well-known/oauth-protected-resource{path}"'
        in (refused.headers["WWW-Authenticate"])
    )

    parameters = {"id_token_hint": first["id_token"], "post_logout_redirect_uri": AFTER_LOGOUT}
    logout = http.send("GET", f"{metadata['end_session_endpoint']}?{urlencode(parameters)}")
    assert logout.location == AFTER_LOGOUT
