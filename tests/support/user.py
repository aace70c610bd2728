"""A resource owner with a browser without JavaScript: follows redirects, stores cookies, submits the forms of pages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx

from tests.support.form import Form, parse_forms

EMAIL, PASSWORD = "maya@example.com", "a violet tram in june"  # of Maya, the user of most tests over HTTP
CALLBACK = "https://app.example/callback"  # the redirect URI of the app that she uses; it has no server
LOOPBACK_CALLBACK = "http://127.0.0.1:49152/callback"  # the same of a native app (RFC 8252 §7.3)
MAX_STEPS = 15


@dataclass(frozen=True)
class CallbackRequest:
    """The request with which a browser returns to the app. Only the response mode ``form_post`` has a body."""

    url: str
    body: str | None = None


class User:
    """A resource owner who signs in with a password and decides on consent pages, over HTTP.

    The redirect to the app is not followed, but returned.
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
        """The cookies of this user's browser."""
        return self._http.cookies

    @property
    def headers(self) -> httpx.Headers:
        """The header fields that this user's browser sends with every request. Tests may change them."""
        return self._http.headers

    def allow(self, authorization_url: str, *, scopes: Collection[str] | None = None) -> str:
        """Open the URL, sign in if there is a sign-in page, and allow the request. Return the redirect to the app.

        :param scopes: the scopes to tick; by default those that are ticked on the page.
        """
        return self._authorize(authorization_url, "allow", scopes).url

    def allow_in_any_response_mode(self, authorization_url: str) -> CallbackRequest:
        """Do as ``allow`` does, for any response mode. Return the request to the app."""
        return self._authorize(authorization_url, "allow", None)

    def deny(self, authorization_url: str) -> str:
        """Open the URL, sign in if there is a sign-in page, and deny the request. Return the redirect to the app."""
        return self._authorize(authorization_url, "deny", None).url

    def approve_device(self, verification_url: str) -> None:
        """Confirm the code that a device shows (RFC 8628 §3.3.1) and allow its request."""
        page = self.get_page(verification_url)
        if any(form.has_field("password") for form in parse_forms(page.text)):
            page = self.get_page(urljoin(str(page.url), self.sign_in(page).headers["location"]))
        page = self.press(self.press(page, "continue"), "allow")
        if not page.is_success:
            raise AssertionError(f"{page.url}: {page.status_code}\n{page.text}")

    def sign_up(self, sign_up_url: str, *, name: str) -> None:
        """Create an account with this user's e-mail address and password."""
        page = self._http.get(sign_up_url)
        form = _form_with_field(page, "password")
        page = self._submit_form(page, form, form.fill_in({"name": name, **self._credentials()}, "sign-up"))
        if not page.has_redirect_location:
            raise AssertionError(f"the sign-up page responded {page.status_code}\n{page.text}")

    def get_page(self, url: str) -> httpx.Response:
        """Request a page and follow redirects, signed in or not."""
        return self._http.get(url, follow_redirects=True)

    def sign_in(self, page: httpx.Response) -> httpx.Response:
        """Submit the sign-in form of a page. Return the response."""
        form = _form_with_field(page, "password")
        return self._submit_form(page, form, form.fill_in(self._credentials(), "sign-in"))

    def press(self, page: httpx.Response, button_id: str) -> httpx.Response:
        """Press the button with this id on a page. Follow redirects and return the last response."""
        form = _form_with_button(page, button_id)
        response = self._submit_form(page, form, form.fill_in({}, button_id))
        if response.has_redirect_location:
            return self.get_page(urljoin(str(page.url), response.headers["location"]))
        return response

    def _authorize(self, url: str, button_id: str, scopes: Collection[str] | None) -> CallbackRequest:
        issuer_host = httpx.URL(url).netloc
        page = self._http.get(url)
        for _ in range(MAX_STEPS):
            if page.has_redirect_location:
                target = urljoin(str(page.url), page.headers["location"])
                if httpx.URL(target).netloc != issuer_host:
                    return CallbackRequest(target)
                page = self._http.get(target)
            elif page.status_code == httpx.codes.OK:
                for form in parse_forms(page.text):
                    if httpx.URL(urljoin(str(page.url), form.action)).netloc != issuer_host:  # form_post
                        return CallbackRequest(form.action, urlencode(form.fields))
                page = self._submit_page(page, button_id, scopes)
            else:
                raise AssertionError(f"{page.request.method} {page.url}: {page.status_code}\n{page.text}")
        raise AssertionError(
            f"no redirect to the app within {MAX_STEPS} steps; the last page is {page.url}\n{page.text}"
        )

    def _submit_page(self, page: httpx.Response, button_id: str, scopes: Collection[str] | None) -> httpx.Response:
        forms = parse_forms(page.text)
        for form in forms:
            if form.has_field("password"):
                return self._submit_form(page, form, form.fill_in(self._credentials(), "sign-in"))
        form = _form_with_button(page, button_id)
        if scopes is not None:
            form.checked = [pair for pair in form.choices if pair[0] != "scope" or pair[1] in scopes]
        return self._submit_form(page, form, form.fill_in({}, button_id))

    def _credentials(self) -> dict[str, str]:
        return {"email": self.email, "password": self._password}

    def _submit_form(self, page: httpx.Response, form: Form, fields: list[tuple[str, str]]) -> httpx.Response:
        if form.method != "post":
            raise AssertionError(f"the form to {form.action!r} has the method {form.method}, not post")
        body: dict[str, list[str]] = {}
        for name, value in fields:
            body.setdefault(name, []).append(value)
        return self._http.post(urljoin(str(page.url), form.action), data=body)


def _form_with_field(page: httpx.Response, field_name: str) -> Form:
    return _single_form(page, [form for form in parse_forms(page.text) if form.has_field(field_name)], field_name)


def _form_with_button(page: httpx.Response, button_id: str) -> Form:
    return _single_form(page, [form for form in parse_forms(page.text) if button_id in form.buttons], button_id)


def _single_form(page: httpx.Response, forms: list[Form], criterion: str) -> Form:
    if len(forms) != 1:
        raise AssertionError(f"{len(forms)} forms with {criterion!r} at {page.url} ({page.status_code})\n{page.text}")
    return forms[0]
