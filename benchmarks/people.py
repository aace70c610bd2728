"""People with a browser: they sign in and consent on the real pages, and their cookies are kept."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from benchmarks.servers import REDIRECT_URI, Client, Server
from tests.support.form import Form, parse_forms

PEOPLE = 96
STEPS = 15


@dataclass
class Person:
    """Somebody signed in at a server who has allowed one app, and the PKCE verifier used for them."""

    number: int
    app: Client
    server: Server
    browser: httpx.Client
    verifier: str
    scope: str = "profile"

    @property
    def authorization_url(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.app.client_id,
            "redirect_uri": self.app.redirect_uri,
            "scope": self.scope,
            "state": str(self.number),
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{self.server.endpoints['authorization_endpoint']}?{urlencode(asked)}"

    @property
    def cookie(self) -> str:
        """What the browser sends to the authorization endpoint."""
        return str(self.browser.build_request("GET", self.authorization_url).headers["cookie"])

    def refresh_token(self) -> str:
        """Answer a new refresh token."""
        return str(self.tokens()["refresh_token"])

    def tokens(self) -> dict[str, object]:
        """Answer new tokens, from a whole flow in which nobody is asked any more."""
        answer = self.browser.get(self.authorization_url)
        target = answer.headers.get("location", "")
        if not target.startswith(REDIRECT_URI):
            raise AssertionError(f"consent was not remembered: {answer.status_code} {target}\n{answer.text}")
        body = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(target).query)["code"][0],
            "redirect_uri": self.app.redirect_uri,
            "code_verifier": self.verifier,
        }
        answer = httpx.post(
            self.server.endpoints["token_endpoint"],
            data=body,
            auth=(self.app.client_id, self.app.client_secret),
        )
        if not answer.is_success:
            raise AssertionError(f"no token: {answer.status_code}\n{answer.text}")
        return dict(answer.json())


def sign_in(
    server: Server, prepare: Callable[[httpx.Client, int], None], how_many: int = PEOPLE, scope: str = "profile"
) -> list[Person]:
    """Let so many people sign in and consent, one app for each in turn."""
    people = []
    for number in range(1, how_many + 1):
        browser = httpx.Client(timeout=30)
        person = Person(
            number, server.apps[number % len(server.apps)], server, browser, secrets.token_urlsafe(40), scope
        )
        prepare(browser, number)
        _visit(browser, person.authorization_url)
        people.append(person)
    return people


def sign_up_at(server: Server) -> Callable[[httpx.Client, int], None]:
    """Answer how people make an account with Valetkey."""

    def sign_up(browser: httpx.Client, number: int) -> None:
        page = browser.get(f"{server.url}/account/sign-up", follow_redirects=True)
        form = next(one for one in parse_forms(page.text) if one.has_field("password"))
        written = {"name": f"Person {number}", **credentials(number)}
        answer = _send(browser, page, form, written, "sign-up")
        if not answer.has_redirect_location:
            raise AssertionError(f"sign-up answered {answer.status_code}\n{answer.text}")

    return sign_up


def make_accounts(server: Server, how_many: int) -> None:
    """Let so many people sign up at Valetkey, and nothing more."""
    for number in range(1, how_many + 1):
        with httpx.Client(timeout=30) as browser:
            sign_up_at(server)(browser, number)


def nothing(browser: httpx.Client, number: int) -> None:
    """At node-oidc-provider an account exists as soon as somebody signs in."""


def credentials(number: int) -> dict[str, str]:
    return {"email": f"person-{number}@example.com", "password": f"a long password of person {number}"}


def sign_in_once(server: Server, number: int) -> None:
    """Sign in with a password at Valetkey's own page, in a new browser."""
    with httpx.Client(timeout=30) as browser:
        page = browser.get(f"{server.url}/account/sign-in")
        form = next(one for one in parse_forms(page.text) if one.has_field("password"))
        answer = _send(browser, page, form, credentials(number), "sign-in")
        if not answer.has_redirect_location:
            raise AssertionError(f"sign-in answered {answer.status_code}\n{answer.text}")


def _visit(browser: httpx.Client, url: str) -> None:
    page = browser.get(url)
    for _ in range(STEPS):
        if page.has_redirect_location:
            target = urljoin(str(page.url), page.headers["location"])
            if target.startswith(REDIRECT_URI):
                if "code=" in target:
                    return
                break
            page = browser.get(target)
        elif page.is_success:
            page = _answer(browser, page)
        else:
            break
    raise AssertionError(f"no code at {page.url}: {page.status_code} {page.headers}\n{page.text}")


def _answer(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    forms = parse_forms(page.text)
    form = next((one for one in forms if "allow" in one.buttons or one.has_field("login")), forms[0])
    written = {"login": secrets.token_hex(8), "password": "any"} if form.has_field("login") else {}
    return _send(browser, page, form, written, "allow" if "allow" in form.buttons else None)


def _send(
    browser: httpx.Client, page: httpx.Response, form: Form, written: dict[str, str], press: str | None
) -> httpx.Response:
    body: dict[str, list[str]] = {}
    for name, value in form.fill_in(written, press):
        body.setdefault(name, []).append(value)
    return browser.post(urljoin(str(page.url), form.action), data=body)
