"""Somebody with a browser: follows redirects, keeps cookies, fills in the forms that stand on the pages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx

from tests.support.form import Form, read_forms

STEPS = 15


@dataclass(frozen=True)
class Reached:
    """The request with which a browser comes back to the app; only ``form_post`` has a body."""

    url: str
    body: str | None = None


class Person:
    """A resource owner who signs in with a password and answers consent pages, over plain HTTP.

    Nothing that leaves the pages is fetched: the redirect to the app is the answer.
    """

    def __init__(self, email: str, password: str) -> None:
        self.email = email
        self._password = password
        self._http = httpx.Client(follow_redirects=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies of this person's browser."""
        return self._http.cookies

    @property
    def headers(self) -> httpx.Headers:
        """What this person's browser sends with every request; it may be changed."""
        return self._http.headers

    def allow(self, authorization_url: str, *, scopes: Collection[str] | None = None) -> str:
        """Visit, sign in where asked, allow (only ``scopes`` if given) and answer the redirect to the app."""
        return self._visit(authorization_url, "allow", scopes).url

    def reach(self, authorization_url: str) -> Reached:
        """Like ``allow``, for any response mode: answer the request that reaches the app."""
        return self._visit(authorization_url, "allow", None)

    def deny(self, authorization_url: str) -> str:
        """Visit, sign in where asked, deny and answer the redirect to the app."""
        return self._visit(authorization_url, "deny", None).url

    def connect(self, verification_url: str) -> None:
        """Confirm the code that a device shows (RFC 8628 §3.3.1) and allow what it asks."""
        page = self.read(verification_url)
        if any(form.has_field("password") for form in read_forms(page.text)):
            page = self.read(urljoin(str(page.url), self.sign_in(page).headers["location"]))
        page = self.press(self.press(page, "continue"), "allow")
        if not page.is_success:
            raise AssertionError(f"{page.url}: {page.status_code}\n{page.text}")

    def sign_up(self, sign_up_url: str, *, name: str) -> None:
        """Make an account with this person's e-mail address and password."""
        page = self._http.get(sign_up_url)
        form = _form_with(page, "password")
        page = self._send(page, form, form.filled({"name": name, **self._credentials()}, "sign-up"))
        if not page.has_redirect_location:
            raise AssertionError(f"sign-up answered {page.status_code}\n{page.text}")

    def read(self, url: str) -> httpx.Response:
        """Read a page of the account, following redirects, as the person who is signed in (or not)."""
        return self._http.get(url, follow_redirects=True)

    def sign_in(self, page: httpx.Response) -> httpx.Response:
        """Fill in the sign-in form of a page and answer what comes."""
        form = _form_with(page, "password")
        return self._send(page, form, form.filled(self._credentials(), "sign-in"))

    def press(self, page: httpx.Response, button: str) -> httpx.Response:
        """Press the button of this id on a page and answer what comes, redirects followed."""
        form = _form_with_button(page, button)
        answer = self._send(page, form, form.filled({}, button))
        if answer.has_redirect_location:
            return self.read(urljoin(str(page.url), answer.headers["location"]))
        return answer

    def _visit(self, url: str, button: str, scopes: Collection[str] | None) -> Reached:
        home = httpx.URL(url).netloc
        page = self._http.get(url)
        for _ in range(STEPS):
            if page.has_redirect_location:
                target = urljoin(str(page.url), page.headers["location"])
                if httpx.URL(target).netloc != home:
                    return Reached(target)
                page = self._http.get(target)
            elif page.status_code == httpx.codes.OK:
                for form in read_forms(page.text):
                    if httpx.URL(urljoin(str(page.url), form.action)).netloc != home:  # form_post
                        return Reached(form.action, urlencode(form.values))
                page = self._answer(page, button, scopes)
            else:
                raise AssertionError(f"{page.request.method} {page.url}: {page.status_code}\n{page.text}")
        raise AssertionError(f"no redirect to the app after {STEPS} steps, but {page.url}\n{page.text}")

    def _answer(self, page: httpx.Response, button: str, scopes: Collection[str] | None) -> httpx.Response:
        forms = read_forms(page.text)
        for form in forms:
            if form.has_field("password"):
                return self._send(page, form, form.filled(self._credentials(), "sign-in"))
        form = _form_with_button(page, button)
        if scopes is not None:
            form.ticked = [pair for pair in form.boxes if pair[0] != "scope" or pair[1] in scopes]
        return self._send(page, form, form.filled({}, button))

    def _credentials(self) -> dict[str, str]:
        return {"email": self.email, "password": self._password}

    def _send(self, page: httpx.Response, form: Form, pairs: list[tuple[str, str]]) -> httpx.Response:
        if form.method != "post":
            raise AssertionError(f"the form to {form.action!r} is sent by {form.method}")
        body: dict[str, list[str]] = {}
        for name, value in pairs:
            body.setdefault(name, []).append(value)
        return self._http.post(urljoin(str(page.url), form.action), data=body)


def _form_with(page: httpx.Response, name: str) -> Form:
    return _only_one(page, [form for form in read_forms(page.text) if form.has_field(name)], name)


def _form_with_button(page: httpx.Response, button: str) -> Form:
    return _only_one(page, [form for form in read_forms(page.text) if button in form.buttons], button)


def _only_one(page: httpx.Response, found: list[Form], what: str) -> Form:
    if len(found) != 1:
        raise AssertionError(f"{len(found)} forms with {what!r} at {page.url} ({page.status_code})\n{page.text}")
    return found[0]
