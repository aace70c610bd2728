"""The server under test of the page tests, and names that are hard to lay out."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Site:
    """The server under test and what its pages are reached by."""

    url: str
    client_id: str
    device_client_id: str = ""

    def authorization_url(self, scope: str = " ".join(SCOPES)) -> str:
        """Answer the address to which an app sends somebody."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "scope": scope,
            "code_challenge": s256("v" * 43),
            "code_challenge_method": "S256",
        }
        return f"{self.url}/oauth/authorize?{urlencode(asked)}"

    def sign_in(self, page: Page) -> None:
        """Fill in the sign-in form that the page shows."""
        page.get_by_label("E-mail address").fill(LONG_EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.click("#sign-in")
