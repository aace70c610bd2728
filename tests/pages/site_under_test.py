"""The server of the page tests, and long names that must fit on its pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from playwright.sync_api import Page

from tests.support.user import CALLBACK, PASSWORD
from valetkey.protocol.pkce import s256

LONG_EMAIL = "wolfeschlegelsteinhausenbergerdorff.the.elder@mail.department.example.com"
USER_NAME = "Hubert Blaine Wolfeschlegelsteinhausenbergerdorff"
APP_NAME = "The Society for Unbrokenverylongandveryproudapplicationnames"
SCOPES = {
    "profile": "See your name and picture",
    "notes:read": "Read your notes, the shared ones too",
    "notes:write": "Change and delete your notes",
}


OpenPage = Callable[[Page], None]  # the fixture open_page


@dataclass(frozen=True)
class Site:
    """The URL of the server under test, and the clients whose requests lead to its pages."""

    url: str
    client_id: str
    device_client_id: str = ""
    unused_client_id: str = ""  # that nobody has allowed anything
    url_with_providers: str = ""  # of another server, whose users can sign in with two providers that are down

    def authorization_url(self, scope: str = " ".join(SCOPES)) -> str:
        """Return the URL of an authorization request."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "scope": scope,
            "code_challenge": s256("v" * 43),
            "code_challenge_method": "S256",
        }
        return f"{self.url}/oauth/authorize?{urlencode(parameters)}"

    def sign_in(self, page: Page) -> None:
        """Submit the sign-in form of the page."""
        page.get_by_label("E-mail address").fill(LONG_EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.click("#sign-in")
