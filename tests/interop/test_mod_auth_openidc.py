"""Debian's Apache module as a relying party: a login, claims as headers, a session of its own."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest

from tests.interop.apache import Apache
from tests.interop.conftest import EMAIL
from tests.interop.person import Person
from tests.services.valetkey_server import RunningServer


@pytest.fixture(scope="module", params=["client_secret_basic", "client_secret_post"])
def apache(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Apache]:
    """A protected folder whose visitors sign in here."""
    made = Apache()
    client = server.deployment.create_client("web", name="Apache", scope="", redirect_uris=[made.callback])
    more = f"OIDCProviderTokenEndpointAuth {request.param}"
    with made.configure(issuer=server.issuer, **client, more=more) as running:
        yield running


def test_a_page_behind_apache_learns_who_came(apache: Apache, maya: Person) -> None:
    with httpx.Client() as browser:
        refused = browser.get(maya.deny(_sent_away(browser, apache)))
        assert not refused.has_redirect_location  # the words are wrong: 2.4.12 takes iss (RFC 9207) for discovery
        assert "The page behind" not in refused.text

        come_back = browser.get(maya.allow(_sent_away(browser, apache)))
        assert come_back.has_redirect_location, apache.log
        page = browser.get(urljoin(apache.url, come_back.headers["location"]))

        assert page.text == "The page behind.\n"
        assert (page.headers["Seen-Email"], page.headers["Seen-Name"]) == (EMAIL, "Maya")
        assert "@" in page.headers["Seen-User"]  # the sub at the issuer


def _sent_away(browser: httpx.Client, apache: Apache) -> str:
    """Answer where Apache sends somebody whom it does not know."""
    answer = browser.get(f"{apache.url}page")
    assert answer.status_code == httpx.codes.FOUND
    return answer.headers["location"]
