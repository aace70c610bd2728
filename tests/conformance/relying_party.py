"""A relying party and the browser before it, in the words of OpenID Connect Core."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import JWKRegistry
from werkzeug.test import TestResponse

from tests.support.vocabulary import Browser, query_of
from valetkey.protocol.secret import BROWSER, SESSION, Secret, mint
from valetkey.runtime import Runtime
from valetkey.storage import accounts, resources
from valetkey.storage.engine.transaction import Write
from valetkey.tokens.jws import CLIENTS

NONCE = "n-0S6_WzA2Mj"
PERSON: dict[str, Any] = {
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
    """Asks with ``openid`` and a nonce; the person before the browser is Ada."""

    runtime: Runtime

    def sign_in_as(self, sub: str) -> None:
        """A fresh sign-in, as the page makes it (``resource_owner/`` tests the page)."""
        sent = self.http.get_cookie("valetkey_browser")
        browser = Secret(sent.value) if sent else mint(BROWSER)
        session, now = mint(SESSION), self.runtime.clock()
        row = accounts.Session(session.digest(), sub, browser.digest(), now, now + 86400, None)
        assert self.runtime.store.write(Write(rows=(accounts.ADD_SESSION(row),)))
        self.http.set_cookie("valetkey_browser", browser.reveal())
        self.http.set_cookie("valetkey_session", session.reveal())

    def sign_out(self) -> None:
        self.http.delete_cookie("valetkey_session")

    def asked(self, **changes: str | None) -> dict[str, str]:
        return super().asked(**{"scope": "openid", "nonce": NONCE, **changes})

    def authorize(self, signs_in_as: str = "ada", **asked: str | None) -> TestResponse:
        """Sign in where asked to, allow everything, and answer what goes back to the client."""
        return self.follow(self.ask(**asked), signs_in_as)

    def authorize_by_post(self, **asked: str | None) -> TestResponse:
        sent_on = self.http.post("/oauth/authorize", data=self.asked(**asked))
        return self.follow(self.get(sent_on.location))

    def follow(self, response: TestResponse, signs_in_as: str = "ada") -> TestResponse:
        for _ in range(6):
            goes_to = response.location or ""
            if 'id="allow"' in response.text:
                ticked = tuple(re.findall(r'name="scope" value="([^"]+)"', response.text))
                response = self.answer(response.request.path, scope=ticked)
            elif goes_to.startswith("/account/sign-in"):
                self.sign_in_as(signs_in_as)
                response = self.get(parse_qs(urlsplit(goes_to).query)["next"][0])
            elif "/consent/" in goes_to:
                response = self.get(goes_to)
            else:
                return response
        raise AssertionError("round in circles")

    def is_asked_to_sign_in(self, **asked: str | None) -> bool:
        response = self.ask(**asked)
        if "/consent/" in response.location:
            response = self.get(response.location)
        return (response.location or "").startswith("/account/sign-in")

    def is_asked_to_consent(self, **asked: str | None) -> bool:
        response = self.ask(**asked)
        return "/consent/" in response.location and 'id="allow"' in self.get(response.location).text

    def tokens(self, signs_in_as: str = "ada", **asked: Any) -> dict[str, Any]:
        redeemed = self.redeem(query_of(self.authorize(signs_in_as, **asked))["code"])
        assert redeemed.status_code == 200, redeemed.text
        return dict(redeemed.json or {})

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a JWT of the provider's, by its published keys."""
        header = jws.extract_compact(token.encode()).headers()
        published = {key["kid"]: key for key in self.get("/oauth/jwks").json["keys"]}[header["kid"]]
        assert published["alg"] == header["alg"]
        key = JWKRegistry.import_key({name: value for name, value in published.items() if name != "alg"})
        return dict(json.loads(jws.deserialize_compact(token.encode(), key, registry=CLIENTS).payload))

    def id_token(self, **asked: Any) -> dict[str, Any]:
        return self.read(self.tokens(**asked)["id_token"])

    def userinfo(self, token: str, method: str = "GET", **more: Any) -> TestResponse:
        return self.http.open("/oauth/userinfo", method=method, headers={"Authorization": f"Bearer {token}"}, **more)

    def claims(self, **asked: Any) -> dict[str, Any]:
        """What userinfo tells after such a request."""
        return dict(self.userinfo(self.tokens(**asked)["access_token"]).json or {})


def put_resource(runtime: Runtime, url: str, **metadata: Any) -> None:
    """Make a protected resource known, as ``valetkey resources create`` does."""
    assert runtime.store.write(Write(rows=(resources.put(url, metadata, runtime.clock()),)))
    runtime.resources.forget()


def half_hash(value: str, hashed: str = "sha256") -> str:
    """``at_hash`` (Core §3.1.3.6)."""
    digest = hashlib.new(hashed, value.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def fields_of(page: TestResponse) -> dict[str, str]:
    """The hidden fields of a page that posts them on."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: html.unescape(value) for name, value in found}


def error_of(response: TestResponse) -> str:
    """The error that a redirect takes to the client."""
    told = query_of(response)
    assert "code" not in told
    return told["error"]
