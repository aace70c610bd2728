"""A relying party and the browser of its user; the methods have the names of OpenID Connect Core."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from joserfc import jws
from joserfc.jwk import JWKRegistry
from werkzeug.test import TestResponse

from tests.support.browser_client import CALLBACK, EMAIL, Browser, redirect_parameters
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.secret import BROWSER, SESSION, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, resources, sessions
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.jws import ASSERTION_REGISTRY

NONCE = "n-0S6_WzA2Mj"
ADA_CLAIMS: dict[str, Any] = {
    "given_name": "Ada",
    "family_name": "Lovelace",
    "middle_name": "King",
    "nickname": "ada",
    "preferred_username": "ada",
    "profile": "https://ada.example/",
    "picture": "https://ada.example/ada.png",
    "website": "https://ada.example/blog",
    "gender": "female",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "updated_at": 1_899_999_000,
    "email_verified": True,
    "phone_number": "+44 20 7946 0000",
    "phone_number_verified": False,
    "address": {"formatted": "12 St James's Square, London", "country": "GB"},
}
ALL_SCOPES = "openid profile email address phone"


@dataclass
class RelyingParty(Browser):
    """A client whose authorization requests have the scope ``openid`` and a nonce; its user is Ada."""

    runtime: Runtime

    def sign_in_as(self, sub: str) -> None:
        """Give the browser the cookies of a new sign-in; the sign-in page is tested in ``tests/resource_owner/``."""
        cookie = self.http.get_cookie("valetkey_browser")
        browser = Secret(cookie.value) if cookie else generate_secret(BROWSER)
        session, now = generate_secret(SESSION), self.runtime.clock()
        row = sessions.Session(session.digest(), sub, browser.digest(), now, now, now + 86400, None)
        assert self.runtime.store.write(Transaction(rows=(sessions.add(row),)))
        self.http.set_cookie("valetkey_browser", browser.reveal())
        self.http.set_cookie("valetkey_session", session.reveal())

    def sign_out(self) -> None:
        self.http.delete_cookie("valetkey_session")

    def authorization_parameters(self, **changes: str | None) -> dict[str, str]:
        return super().authorization_parameters(**{"scope": "openid", "nonce": NONCE, **changes})

    def complete_authorization(self, user_sub: str = "ada", **changes: str | None) -> TestResponse:
        """Send an authorization request, sign in if required, allow all scopes; return the response to the client."""
        return self.follow_to_client(self.authorize(**changes), user_sub)

    def complete_authorization_by_post(self, **changes: str | None) -> TestResponse:
        """Do the same with an authorization request by POST."""
        response = self.http.post("/oauth/authorize", data=self.authorization_parameters(**changes))
        return self.follow_to_client(self.get(response.location))

    def follow_to_client(self, response: TestResponse, user_sub: str = "ada") -> TestResponse:
        """Follow redirects, sign in and allow all scopes, until a response goes to the client; return it."""
        for _ in range(6):
            location = response.location or ""
            if 'id="allow"' in response.text:
                scopes = tuple(re.findall(r'name="scope" value="([^"]+)"', response.text))
                response = self.approve(response.request.path, scope=scopes)
            elif location.startswith("/account/sign-in"):
                self.sign_in_as(user_sub)
                response = self.get(parse_qs(urlsplit(location).query)["next"][0])
            elif "/consent/" in location:
                response = self.get(location)
            else:
                return response
        raise AssertionError("redirect loop: six pages and no response to the client")

    def requires_sign_in(self, **changes: str | None) -> bool:
        """Return whether this authorization request leads to the sign-in page."""
        response = self.authorize(**changes)
        if "/consent/" in response.location:
            response = self.get(response.location)
        return (response.location or "").startswith("/account/sign-in")

    def requires_consent(self, **changes: str | None) -> bool:
        """Return whether this authorization request leads to the consent page."""
        response = self.authorize(**changes)
        return "/consent/" in response.location and 'id="allow"' in self.get(response.location).text

    def obtain_tokens(self, user_sub: str = "ada", **changes: Any) -> dict[str, Any]:
        redeemed = self.redeem(redirect_parameters(self.complete_authorization(user_sub, **changes))["code"])
        assert redeemed.status_code == 200, redeemed.text
        return dict(redeemed.json or {})

    def decode_jwt(self, token: str) -> dict[str, Any]:
        """Verify a JWT with the provider's published keys and return its claims."""
        header = jws.extract_compact(token.encode()).headers()
        jwk = {key["kid"]: key for key in self.get("/oauth/jwks").json["keys"]}[header["kid"]]
        assert jwk["alg"] == header["alg"]
        key = JWKRegistry.import_key({name: value for name, value in jwk.items() if name != "alg"})
        return dict(json.loads(jws.deserialize_compact(token.encode(), key, registry=ASSERTION_REGISTRY).payload))

    def obtain_id_token_claims(self, **changes: Any) -> dict[str, Any]:
        return self.decode_jwt(self.obtain_tokens(**changes)["id_token"])

    def call_userinfo(self, token: str, method: str = "GET", **options: Any) -> TestResponse:
        return self.http.open("/oauth/userinfo", method=method, headers={"Authorization": f"Bearer {token}"}, **options)

    def obtain_userinfo_claims(self, **changes: Any) -> dict[str, Any]:
        """Obtain tokens with this authorization request and return the claims from userinfo."""
        return dict(self.call_userinfo(self.obtain_tokens(**changes)["access_token"]).json or {})


def register_resource(runtime: Runtime, url: str, **metadata: Any) -> None:
    """Register a protected resource, as ``valetkey resources create`` does."""
    assert runtime.store.write(Transaction(rows=(resources.upsert(url, metadata, runtime.clock()),)))
    runtime.resources.invalidate()


def left_half_hash(value: str, algorithm: str = "sha256") -> str:
    """Return the ``at_hash`` of an access token (Core §3.1.3.6)."""
    digest = hashlib.new(algorithm, value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def hidden_fields(page: TestResponse) -> dict[str, str]:
    """Return the hidden fields of a page, unescaped."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: html.unescape(value) for name, value in fields}


def redirect_error(response: TestResponse) -> str:
    """Return the ``error`` in a redirect to the client, which must not contain an authorization code."""
    parameters = redirect_parameters(response)
    assert "code" not in parameters
    return parameters["error"]


MakeRelyingParty = Callable[..., RelyingParty]


def create_accounts(app: Flask, **custom_claims: Any) -> None:
    """Create two accounts at an app: Ada has a value for every claim, Bob has only an unverified e-mail address."""
    runtime: Runtime = app.extensions["valetkey"]
    now = runtime.clock()
    ada_claims = {**ADA_CLAIMS, **custom_claims}
    for sub, email, name, claims in (("ada", EMAIL, "Ada Lovelace", ada_claims), ("bob", "bob@example.org", "", {})):
        assert runtime.store.write(Transaction(accounts.add(sub, email, name, None, now, claims=claims)))
    runtime.store.write_all(accounts.set_email_verified("ada", EMAIL, now))


def register_relying_party(app: Flask, policy: str = "web", **metadata: Any) -> RelyingParty:
    """Register a relying party at an app and return it with a browser in which no user is signed in."""
    runtime: Runtime = app.extensions["valetkey"]
    metadata.setdefault("redirect_uris", [CALLBACK])
    client = register_client(runtime, runtime.clock(), name=metadata.pop("name", "Shop"), policy=policy, **metadata)
    return RelyingParty(app.test_client(), client, runtime)
