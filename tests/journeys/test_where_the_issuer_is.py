"""One journey for every place at which an issuer may be: below a path, on IPv6, on another port, behind a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.form import parse_forms
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.pkce import s256

CALLBACK, AFTER, VERIFIER = "https://shop.example/callback", "https://shop.example/after", "v" * 43
PROXY = {
    "Host": "inside:8080",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "id.example",
    "X-Forwarded-Proto": "https",
}
TAKEN_OFF = "below a path that a proxy takes off"
PLACES: dict[str, tuple[str, dict[str, str]]] = {  # the issuer, and what its server sees of a request to it
    TAKEN_OFF: ("https://id.example/tenant", PROXY),
    "below a path": ("http://127.0.0.1:8000/tenant", {}),
    "IPv6": ("http://[::1]:8000", {"Host": "[::1]:8000"}),
    "another port": ("http://127.0.0.1:49999", {"Host": "127.0.0.1:49999"}),
    "behind a proxy": ("https://id.example", PROXY),
    "under a name that a caller made up": ("http://127.0.0.1:8000", {"Host": "evil.example"}),
}


@dataclass
class Visitor:
    """A browser and a client that go only to addresses at the issuer; every address that it is told is checked."""

    issuer: str
    seen: dict[str, str]
    http: FlaskClient
    taken_off: str = ""
    told: list[str] = field(default_factory=list)

    def send(self, method: str, url: str, **more: Any) -> TestResponse:
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == _origin(self.issuer), url
        where = parts.path.removeprefix(self.taken_off) + (f"?{parts.query}" if parts.query else "")
        headers = {**self.seen, **more.pop("headers", {})}
        answer = self.http.open(where, method=method, headers=headers, **more)
        assert "evil.example" not in answer.text and "inside:8080" not in answer.text
        return answer

    def document(self, url: str) -> dict[str, Any]:
        answer = self.send("GET", url)
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})

    def press(self, url: str, button: str, **written: str) -> str:
        """Go there and on to a page with this button, press it, and answer where that leads."""
        page = self.send("GET", url)
        while page.location:
            url = urljoin(url, page.location)
            page = self.send("GET", url)
        form = next(one for one in parse_forms(page.text) if button in one.buttons)
        body: dict[str, list[str]] = {}
        for name, value in form.fill_in(written, button):
            body.setdefault(name, []).append(value)
        answer = self.send("POST", urljoin(url, form.action), data=body)
        return urljoin(url, answer.location)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.mark.parametrize("place", PLACES)
def test_from_discovery_to_logout_all_is_at_the_issuer(make_app: MakeApp, sqlite_store_url: str, place: str) -> None:
    issuer, seen = PLACES[place]
    app = make_app(sqlite_store_url, issuer=issuer, trusted_proxies=("127.0.0.0/8",))
    members = {"post_logout_redirect_uris": [AFTER]}
    client = register_client(
        app.extensions["valetkey"], name="Shop", policy="native", redirect_uris=[CALLBACK], members=members
    )
    new_user_page = Visitor(issuer, seen, app.test_client(), "/tenant" if place == TAKEN_OFF else "")

    found = new_user_page.document(f"{issuer}/.well-known/openid-configuration")
    path = urlsplit(issuer).path
    assert new_user_page.document(f"{_origin(issuer)}/.well-known/oauth-authorization-server{path}")["issuer"] == issuer
    endpoints = [value for name, value in found.items() if name.endswith(("_endpoint", "jwks_uri"))]
    assert found["issuer"] == issuer and all(url.startswith(f"{issuer}/oauth/") for url in endpoints)

    written = {"name": "Ada", "email": "ada@example.org", "password": "a violet tram in june"}
    assert new_user_page.press(f"{issuer}/account/sign-up", "sign-up", **written).startswith(f"{issuer}/account")
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid email",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
    }
    came_back = new_user_page.press(f"{found['authorization_endpoint']}?{urlencode(asked)}", "allow")
    answer = dict(parse_qsl(urlsplit(came_back).query))
    assert came_back.startswith(CALLBACK) and answer["iss"] == issuer

    def token(**sent: str) -> dict[str, Any]:
        told = new_user_page.send("POST", found["token_endpoint"], data={"client_id": client.client_id, **sent})
        assert told.status_code == 200, told.text
        return dict(told.json or {})

    first = token(grant_type="authorization_code", code=answer["code"], code_verifier=VERIFIER, redirect_uri=CALLBACK)
    second = token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    bearer = {"Authorization": f"Bearer {second['access_token']}"}
    assert new_user_page.send("GET", found["userinfo_endpoint"], headers=bearer).json["email"] == "ada@example.org"

    device = new_user_page.send(
        "POST", found["device_authorization_endpoint"], data={"client_id": client.client_id}
    ).json
    assert device["verification_uri"] == f"{issuer}/device"
    assert new_user_page.send("GET", device["verification_uri_complete"]).status_code == 200

    resource = new_user_page.document(f"{_origin(issuer)}/.well-known/oauth-protected-resource{path}")
    assert (resource["resource"], resource["authorization_servers"]) == (issuer, [issuer])
    refused = new_user_page.send("GET", f"{issuer}/api/protected")
    assert (
        f'resource_metadata="{_origin(issuer)}/.well-known/oauth-protected-resource{path}"'
        in (refused.headers["WWW-Authenticate"])
    )

    leaving = {"id_token_hint": first["id_token"], "post_logout_redirect_uri": AFTER}
    left = new_user_page.send("GET", f"{found['end_session_endpoint']}?{urlencode(leaving)}")
    assert left.location == AFTER
