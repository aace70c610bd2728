"""mozilla-django-oidc, a relying party in a process of its own: login, claims, renewal, both ends of a sign-in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.program import Program, accepts_connections, free_port
from tests.support.user import EMAIL, User
from tests.support.valetkey_server import RunningServer

SITE = Path(__file__).parent / "django_site.py"
WAYS = {  # as the versions of the library that are in use are set up
    "PKCE, RS256": ("web", {"OIDC_USE_PKCE": True, "OIDC_RP_SIGN_ALGO": "RS256"}),
    "no PKCE, ES256, basic": (
        "oidc-compat",
        {"OIDC_RP_SIGN_ALGO": "ES256", "OIDC_TOKEN_USE_BASIC_AUTH": True},
    ),
}


@dataclass(frozen=True)
class Site:
    url: str
    goodbye: str

    def who(self, browser: httpx.Client) -> str | None:
        """The e-mail address of whoever is signed in there."""
        answer = browser.get(f"{self.url}/").raise_for_status().json()["email"]
        return None if answer is None else str(answer)


@pytest.fixture(scope="module", params=WAYS)
def site(
    server: RunningServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A Django site that knows the provider by its metadata."""
    policy, way = WAYS[request.param]
    folder, port = tmp_path_factory.mktemp("django"), free_port()
    made = Site(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/")
    members = folder / "members.json"
    members.write_text(json.dumps({"id_token_signed_response_alg": way["OIDC_RP_SIGN_ALGO"]}))
    words = ["--name", "Django", "--policy", policy, "--redirect-uri", f"{made.url}/oidc/callback/"]
    words += ["--post-logout-redirect-uri", made.goodbye, "--metadata", str(members), "--json"]
    client = json.loads(server.deployment.run("clients", "create", *words))
    found = httpx.get(f"{server.issuer}/.well-known/openid-configuration").json()
    settings = {
        "OIDC_RP_CLIENT_ID": client["client_id"],
        "OIDC_RP_CLIENT_SECRET": client["client_secret"],
        "OIDC_OP_AUTHORIZATION_ENDPOINT": found["authorization_endpoint"],
        "OIDC_OP_TOKEN_ENDPOINT": found["token_endpoint"],
        "OIDC_OP_USER_ENDPOINT": found["userinfo_endpoint"],
        "OIDC_OP_JWKS_ENDPOINT": found["jwks_uri"],
        **way,
    }
    told = {
        "port": port,
        "folder": str(folder),
        "goodbye": made.goodbye,
        "logout": found["end_session_endpoint"],
        "settings": settings,
    }
    program = Program(
        [sys.executable, str(SITE)],
        log=folder / "django.log",
        is_ready=lambda: accepts_connections(port),
        environment={**os.environ, "SITE": json.dumps(told)},
    )
    try:
        yield made
    finally:
        program.kill()


def test_a_person_signs_in_and_the_site_knows_their_address(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        assert site.who(browser) is None

        _log_in(browser, site, maya)

        assert site.who(browser) == EMAIL


def test_who_denies_is_not_signed_in(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        sent = browser.get(f"{site.url}/oidc/authenticate/").headers["location"]

        back = browser.get(maya.deny(f"{sent}&prompt=consent"))

        assert back.headers["location"] == "/failed"
        assert site.who(browser) is None


def test_an_old_sign_in_is_renewed_without_a_question(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)
        sent = _age(browser, site)
        assert "prompt=none" in sent

        back = browser.get(maya.allow(sent))

        assert back.headers["location"] == "/"
        assert site.who(browser) == EMAIL


def test_who_left_the_provider_is_not_renewed(server: RunningServer, site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)
        maya.press(maya.get_page(f"{server.issuer}/account"), "sign-out")

        answer = maya.allow(_age(browser, site))

        assert "error=login_required" in answer
        browser.get(answer)
        assert site.who(browser) is None


def test_who_leaves_the_site_leaves_the_provider(server: RunningServer, site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)

        leaving = browser.post(f"{site.url}/oidc/logout/").headers["location"]

        assert leaving.startswith(f"{server.issuer}/oauth/logout")
        assert maya.allow(leaving) == site.goodbye
        assert site.who(browser) is None
        assert maya.get_page(f"{server.issuer}/account").url.path == "/account/sign-in"


def _log_in(browser: httpx.Client, site: Site, person: User) -> None:
    sent = browser.get(f"{site.url}/oidc/authenticate/").headers["location"]
    back = browser.get(person.allow(sent))
    assert back.headers["location"] == "/", back.text


def _age(browser: httpx.Client, site: Site) -> str:
    """Where the site sends somebody whose sign-in there has become old."""
    browser.get(f"{site.url}/age").raise_for_status()
    return str(browser.get(f"{site.url}/").headers["location"])
