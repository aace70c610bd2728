"""A user's browser and an OAuth client, both in the process of the test.

The methods of ``Browser`` are the steps of RFC 6749: authorize, approve, redeem, refresh, revoke, call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.user import PASSWORD
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.pkce import s256
from valetkey.protocol.secret import BROWSER, SESSION, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts, sessions
from valetkey.storage.engine.transaction import Transaction

ISSUER = "http://127.0.0.1:8000"
SCOPES = {"profile": "See your name and picture", "notes:read": "Read your notes", "notes:write": "Write notes"}
CODE_VERIFIER = "v" * 43
CALLBACK = "https://shop.example/back"  # of the client "Shop"
EMAIL = "ada@example.org"  # of Ada

_SECRET_PATTERN = re.compile(r"vk_(?:ac|at|dc|rt|pat|cs|ss|br|in|di|ia|ra)_\w{50}|eyJ[\w-]+\.[\w-]+\.[\w-]+|v{43}")


@dataclass
class Browser:
    """The requests of a user's browser and of a client's server in the code flow (RFC 6749 §4.1)."""

    http: FlaskClient
    client: CreatedClient

    @property
    def auth(self) -> tuple[str, str] | None:
        """The credentials for HTTP Basic, or ``None`` if the client is public."""
        return (self.client.client_id, self.client.secret.reveal()) if self.client.secret else None

    def get(self, path: str, **options: Any) -> TestResponse:
        """Request a page without following redirects."""
        return self.http.get(path, **options)

    def submit(self, path: str, data: dict[str, Any], page_path: str | None = None) -> TestResponse:
        """Submit a form of Valetkey with the CSRF token of its page, by default the page at ``path``."""
        hidden = hidden_fields(self.http.get(page_path or path).text)
        return self.http.post(path, data={"csrf_token": "", **hidden, **data})

    def sign_up(self, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
        """Create an account on the sign-up page."""
        return self.submit("/account/sign-up", {"name": "Ada", "email": email, "password": password, **fields})

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
        """Sign in on the sign-in page."""
        return self.submit("/account/sign-in", {"email": email, "password": password, **fields})

    def authorization_parameters(self, **changes: str | None) -> dict[str, str]:
        """Return the parameters of an authorization request with these changes; ``None`` leaves one out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": CALLBACK,
            "scope": "profile",
            "state": "xyz",
            "code_challenge": s256(CODE_VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def authorize(self, **changes: str | None) -> TestResponse:
        """Send an authorization request. The response redirects to a page or to the client."""
        return self.http.get("/oauth/authorize", query_string=self.authorization_parameters(**changes))

    def approve(self, page_url: str, scope: tuple[str, ...] = ("profile",)) -> TestResponse:
        """Press Allow on the consent page at this URL, with these scopes ticked."""
        return self.decide(page_url, "allow", scope)

    def deny(self, page_url: str) -> TestResponse:
        """Press Deny on the consent page at this URL."""
        return self.decide(page_url, "deny")

    def decide(self, page_url: str, decision: str, scope: tuple[str, ...] = ("profile",)) -> TestResponse:
        """Submit the consent page at this URL with any value of the field ``decision``."""
        return self.submit(urlsplit(page_url).path, {"decision": decision, "scope": list(scope)})

    def obtain_code(self, *, scope: tuple[str, ...] = ("profile",), **changes: str | None) -> str:
        """Return a new authorization code. If there is a consent page, allow the whole scope on it."""
        redirect = self.authorize(scope=" ".join(scope), **changes)
        if "/consent/" in redirect.location:
            redirect = self.approve(redirect.location, scope=scope)
        return redirect_parameters(redirect)["code"]

    def redeem(self, code: str, **changes: str | None) -> TestResponse:
        """Redeem an authorization code with these changes of the parameters; ``None`` leaves one out."""
        parameters = {"code": code, "redirect_uri": CALLBACK, "code_verifier": CODE_VERIFIER, **changes}
        return self.request_token("authorization_code", **parameters)

    def refresh(self, refresh_token: str, **changes: str | None) -> TestResponse:
        """Redeem a refresh token."""
        return self.request_token("refresh_token", refresh_token=refresh_token, **changes)

    def request_token(self, grant_type: str, **parameters: Any) -> TestResponse:
        """Send a token request of any grant type."""
        return self.post("/oauth/token", grant_type=grant_type, **parameters)

    def obtain_tokens(self, **changes: Any) -> dict[str, Any]:
        """Obtain a new code, redeem it, and return the token response (RFC 6749 §5.1)."""
        redeemed = self.redeem(self.obtain_code(**changes))
        assert redeemed.status_code == 200, redeemed.text
        return dict(redeemed.json or {})

    def revoke(self, token: str, **parameters: str | None) -> TestResponse:
        """Revoke a token of this client (RFC 7009)."""
        return self.post("/oauth/revoke", token=token, **parameters)

    def introspect(self, token: str, **parameters: str | None) -> TestResponse:
        """Introspect a token as this client (RFC 7662)."""
        return self.post("/oauth/introspect", token=token, **parameters)

    def post(self, path: str, **parameters: Any) -> TestResponse:
        """Send a POST request as this client: by HTTP Basic, or with its ``client_id`` if it is public."""
        if self.auth is None:
            parameters = {"client_id": self.client.client_id, **parameters}
        data = {name: value for name, value in parameters.items() if value is not None}
        return self.http.post(path, data=data, auth=self.auth)

    def call(self, token: str | None = None, path: str = "/api/protected", **options: Any) -> TestResponse:
        """Call a route of the API, with this access token or without a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.get(path, headers=headers, **options)


def hidden_fields(page: str) -> dict[str, str]:
    """Return the CSRF token of a page of Valetkey and, of a consent page, the digest of what it shows."""
    return dict(re.findall(r'name="(csrf_token|shown)"[^>]*value="([^"]+)"', page))


def redirect_parameters(response: TestResponse) -> dict[str, str]:
    """Return the query parameters of a redirect."""
    return dict(parse_qsl(urlsplit(response.location).query))


def sign_in_new_account(browser: Browser, runtime: Runtime, email: str, name: str) -> Browser:
    """Create an account without a password and sign it in, by giving the browser the cookies of a session.

    The pages that do this are tested in ``tests/resource_owner/``. The account's ``sub`` is the name in lower case.
    """
    assert runtime.store.write(Transaction(accounts.add(name.lower(), email, name, None, runtime.clock())))
    return sign_in_to_account(browser, runtime, name.lower())


def sign_in_to_account(browser: Browser, runtime: Runtime, sub: str) -> Browser:
    """Sign a browser in to an existing account, by giving it the cookies of a session."""
    now = runtime.clock()
    cookies = {"valetkey_browser": generate_secret(BROWSER), "valetkey_session": generate_secret(SESSION)}
    browser_digest, session_digest = (cookie.digest() for cookie in cookies.values())
    session = sessions.Session(session_digest, sub, browser_digest, now, now, now + 86400, None)
    runtime.store.write(Transaction(rows=(sessions.add(session),)))
    for cookie, secret in cookies.items():
        browser.http.set_cookie(cookie, secret.reveal())
    return browser


def find_secrets(text: str) -> list[str]:
    """Return the codes, tokens, secrets and code verifiers that a text contains."""
    return _SECRET_PATTERN.findall(text)
