"""Users with a browser, who sign in and consent on the real pages. Their cookies are kept for the loads."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from benchmarks.plain_flask_app import PASSWORD
from benchmarks.servers import REDIRECT_URI, Client, Server
from tests.support.form import Form, parse_forms

USERS = 96
# One for all browsers: making it takes 26 ms, and the browsers of P10 run on the core of the program that measures.
_TLS_CONTEXT = ssl.create_default_context()
MAX_STEPS = 15  # redirects and forms from the authorization request to the code


@dataclass
class User:
    """A user who is signed in at a server and has allowed one app, with the PKCE verifier of all their requests."""

    number: int
    app: Client
    server: Server
    browser: httpx.Client
    verifier: str
    scope: str = "profile"

    @property
    def authorization_url(self) -> str:
        """The URL of the authorization request."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self.app.client_id,
            "redirect_uri": self.app.redirect_uri,
            "scope": self.scope,
            "state": str(self.number),
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{self.server.endpoints['authorization_endpoint']}?{urlencode(parameters)}"

    @property
    def cookie(self) -> str:
        """The Cookie header that the browser sends to the authorization endpoint."""
        return str(self.browser.build_request("GET", self.authorization_url).headers["cookie"])

    def refresh_token(self) -> str:
        """Run the authorization code flow and return the refresh token."""
        return str(self.tokens()["refresh_token"])

    def tokens(self) -> dict[str, object]:
        """Run the authorization code flow, without any page, and return the token response.

        :raises AssertionError: if the server shows a page or issues no tokens.
        """
        response = self.browser.get(self.authorization_url)
        target = response.headers.get("location", "")
        if not target.startswith(REDIRECT_URI):
            raise AssertionError(f"consent was not remembered: {response.status_code} {target}\n{response.text}")
        body = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(target).query)["code"][0],
            "redirect_uri": self.app.redirect_uri,
            "code_verifier": self.verifier,
        }
        response = httpx.post(
            self.server.endpoints["token_endpoint"],
            data=body,
            auth=(self.app.client_id, self.app.client_secret),
        )
        if not response.is_success:
            raise AssertionError(f"no token: {response.status_code}\n{response.text}")
        return dict(response.json())


def sign_in(
    server: Server, sign_up: Callable[[httpx.Client, int], None], count: int = USERS, scope: str = "profile"
) -> list[User]:
    """Create users who sign in and consent, each to one of the server's apps in turn.

    :param sign_up: creates an account in a browser, for the user with this number.
    """
    users = []
    for number in range(1, count + 1):
        browser = open_browser()
        user = User(number, server.apps[number % len(server.apps)], server, browser, secrets.token_urlsafe(40), scope)
        sign_up(browser, number)
        _authorize(browser, user.authorization_url)
        users.append(user)
    return users


def sign_up_function(server: Server) -> Callable[[httpx.Client, int], None]:
    """Return a function that creates an account on Valetkey's sign-up page."""

    def sign_up(browser: httpx.Client, number: int) -> None:
        page = browser.get(f"{server.url}/account/sign-up", follow_redirects=True)
        form = next(form for form in parse_forms(page.text) if form.has_field("password"))
        values = {"name": f"User {number}", **credentials(number)}
        response = _submit(browser, page, form, values, "sign-up")
        if not response.has_redirect_location:
            raise AssertionError(f"sign-up failed with {response.status_code}\n{response.text}")

    return sign_up


def create_accounts(server: Server, count: int) -> None:
    """Create accounts at Valetkey, without any consent."""
    for number in range(1, count + 1):
        with open_browser() as browser:
            sign_up_function(server)(browser, number)


def open_browser() -> httpx.Client:
    """Return a browser without cookies."""
    return httpx.Client(timeout=30, verify=_TLS_CONTEXT)


def no_sign_up(browser: httpx.Client, number: int) -> None:
    """Do nothing: node-oidc-provider creates an account at the first sign-in."""


def credentials(number: int) -> dict[str, str]:
    """Return the e-mail address and the password of the user with this number."""
    return {"email": f"person-{number}@example.com", "password": f"a long password of person {number}"}


def sign_in_once(server: Server, number: int) -> None:
    """Sign in with a password on Valetkey's sign-in page, in a new browser.

    :raises AssertionError: if the sign-in fails.
    """
    with open_browser() as browser:
        page = browser.get(f"{server.url}/account/sign-in")
        form = next(form for form in parse_forms(page.text) if form.has_field("password"))
        response = _submit(browser, page, form, credentials(number), "sign-in")
        if not response.has_redirect_location:
            raise AssertionError(f"sign-in failed with {response.status_code}\n{response.text}")


def sign_in_at_plain_flask(server: Server, _number: int) -> None:
    """Send a password to the plain Flask app, in a new browser.

    :raises AssertionError: if the sign-in fails.
    """
    with open_browser() as browser:
        response = browser.post(f"{server.url}/sign-in", data={"password": PASSWORD})
        if response.json() != {"signed_in": True}:
            raise AssertionError(f"sign-in failed with {response.status_code}\n{response.text}")


def _authorize(browser: httpx.Client, url: str) -> None:
    """Send an authorization request, then sign in and allow on the pages, until the redirect has a code.

    :raises AssertionError: if there is no code after ``MAX_STEPS`` pages and redirects.
    """
    page = browser.get(url)
    for _ in range(MAX_STEPS):
        if page.has_redirect_location:
            target = urljoin(str(page.url), page.headers["location"])
            if target.startswith(REDIRECT_URI):
                if "code=" in target:
                    return
                break
            page = browser.get(target)
        elif page.is_success:
            page = _submit_page(browser, page)
        else:
            break
    raise AssertionError(f"no code at {page.url}: {page.status_code} {page.headers}\n{page.text}")


def _submit_page(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    """Submit the form of a consent page, or of node-oidc-provider's sign-in page."""
    forms = parse_forms(page.text)
    form = next((form for form in forms if "allow" in form.buttons or form.has_field("login")), forms[0])
    values = {"login": secrets.token_hex(8), "password": "any"} if form.has_field("login") else {}
    return _submit(browser, page, form, values, "allow" if "allow" in form.buttons else None)


def _submit(
    browser: httpx.Client, page: httpx.Response, form: Form, values: dict[str, str], button: str | None
) -> httpx.Response:
    body: dict[str, list[str]] = {}
    for name, value in form.fill_in(values, button):
        body.setdefault(name, []).append(value)
    return browser.post(urljoin(str(page.url), form.action), data=body)
