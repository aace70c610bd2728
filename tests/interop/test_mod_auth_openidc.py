"""Debian's Apache module as a relying party: a login, claims as headers, and both ways to log out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest

from tests.interop.apache import Apache
from tests.support.user import EMAIL, User
from tests.support.valetkey_server import RunningServer


@pytest.fixture(scope="module", params=["client_secret_basic", "client_secret_post"])
def apache(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Apache]:
    """A protected folder whose visitors sign in here."""
    made = Apache()
    uris = {
        "--redirect-uri": made.redirect_uri,
        "--post-logout-redirect-uri": made.post_logout_redirect_uri,
        "--backchannel-logout-uri": f"{made.redirect_uri}?logout=backchannel",
    }
    words = [word for pair in uris.items() for word in pair]
    client = json.loads(server.deployment.run("clients", "create", "--name", "Apache", *words, "--json"))
    more = f"OIDCProviderTokenEndpointAuth {request.param}"
    with made.configure(issuer=server.issuer, **client, extra_configuration=more) as running:
        yield running


def test_a_page_behind_apache_learns_who_came(apache: Apache, maya: User) -> None:
    with httpx.Client() as browser:
        refused = browser.get(maya.deny(_sent_away(browser, apache)))
        assert not refused.has_redirect_location  # the words are wrong: 2.4.12 takes iss (RFC 9207) for discovery
        assert "The page behind" not in refused.text

        page = _log_in(browser, apache, maya)

        assert page.text == "The page behind.\n"
        assert (page.headers["Seen-Email"], page.headers["Seen-Name"]) == (EMAIL, "Maya")
        assert "@" in page.headers["Seen-User"]  # the sub at the issuer


def test_apache_logs_its_visitor_out_at_the_provider_too(server: RunningServer, apache: Apache, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, apache, maya)

        leaving = browser.get(apache.redirect_uri, params={"logout": apache.post_logout_redirect_uri}).headers[
            "location"
        ]
        assert leaving.startswith(f"{server.issuer}/oauth/logout")
        assert maya.allow(leaving) == apache.post_logout_redirect_uri

        _sent_away(browser, apache)
        assert maya.get_page(f"{server.issuer}/account").url.path == "/account/sign-in"


def test_who_signs_out_at_the_provider_is_out_at_apache(server: RunningServer, apache: Apache, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, apache, maya)

        maya.press(maya.get_page(f"{server.issuer}/account"), "sign-out")

        deadline = time.monotonic() + 20  # the logout token goes by the outbox
        while browser.get(f"{apache.url}page").status_code != httpx.codes.FOUND:
            assert time.monotonic() < deadline, apache.log
            time.sleep(0.1)


def _log_in(browser: httpx.Client, apache: Apache, person: User) -> httpx.Response:
    come_back = browser.get(person.allow(_sent_away(browser, apache)))
    assert come_back.has_redirect_location, apache.log
    return browser.get(urljoin(apache.url, come_back.headers["location"]))


def _sent_away(browser: httpx.Client, apache: Apache) -> str:
    """Answer where Apache sends somebody whom it does not know."""
    answer = browser.get(f"{apache.url}page")
    assert answer.status_code == httpx.codes.FOUND
    return answer.headers["location"]
