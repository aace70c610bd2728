"""mozilla-django-oidc, a relying party in its own process: sign-in, claims, renewal, logout from both sides."""

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
CONFIGURATIONS = {  # typical settings of the library versions in use
    "PKCE, RS256": ("web", {"OIDC_USE_PKCE": True, "OIDC_RP_SIGN_ALGO": "RS256"}),
    "no PKCE, ES256, basic": (
        "oidc-compat",
        {"OIDC_RP_SIGN_ALGO": "ES256", "OIDC_TOKEN_USE_BASIC_AUTH": True},
    ),
}


@dataclass(frozen=True)
class Site:
    """The URL of a Django site, and the URL of its page after a logout."""

    url: str
    goodbye: str

    def signed_in_email(self, browser: httpx.Client) -> str | None:
        """Return the e-mail address of the user who is signed in at the site, or ``None``."""
        email = browser.get(f"{self.url}/").raise_for_status().json()["email"]
        return None if email is None else str(email)


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def site(
    server: RunningServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A Django site, configured with the endpoints in the provider's metadata."""
    policy, oidc_settings = CONFIGURATIONS[request.param]
    folder, port = tmp_path_factory.mktemp("django"), free_port()
    running = Site(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/")
    members = folder / "members.json"
    members.write_text(json.dumps({"id_token_signed_response_alg": oidc_settings["OIDC_RP_SIGN_ALGO"]}))
    options = ["--name", "Django", "--policy", policy, "--redirect-uri", f"{running.url}/oidc/callback/"]
    options += ["--post-logout-redirect-uri", running.goodbye, "--metadata", str(members), "--json"]
    client = json.loads(server.deployment.run("clients", "create", *options))
    metadata = httpx.get(f"{server.issuer}/.well-known/openid-configuration").json()
    settings = {
        "OIDC_RP_CLIENT_ID": client["client_id"],
        "OIDC_RP_CLIENT_SECRET": client["client_secret"],
        "OIDC_OP_AUTHORIZATION_ENDPOINT": metadata["authorization_endpoint"],
        "OIDC_OP_TOKEN_ENDPOINT": metadata["token_endpoint"],
        "OIDC_OP_USER_ENDPOINT": metadata["userinfo_endpoint"],
        "OIDC_OP_JWKS_ENDPOINT": metadata["jwks_uri"],
        **oidc_settings,
    }
    configuration = {
        "port": port,
        "folder": str(folder),
        "goodbye": running.goodbye,
        "logout": metadata["end_session_endpoint"],
        "settings": settings,
    }
    program = Program(
        [sys.executable, str(SITE)],
        log=folder / "django.log",
        is_ready=lambda: accepts_connections(port),
        environment={**os.environ, "SITE": json.dumps(configuration)},
    )
    try:
        yield running
    finally:
        program.kill()


def test_a_user_signs_in_and_the_site_gets_the_email_address(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        assert site.signed_in_email(browser) is None

        _log_in(browser, site, maya)

        assert site.signed_in_email(browser) == EMAIL


def test_a_user_who_denies_access_is_not_signed_in(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        url = browser.get(f"{site.url}/oidc/authenticate/").headers["location"]

        callback = browser.get(maya.deny(f"{url}&prompt=consent"))

        assert callback.headers["location"] == "/failed"
        assert site.signed_in_email(browser) is None


def test_an_expired_sign_in_is_renewed_without_a_page(site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)
        url = _renewal_url(browser, site)
        assert "prompt=none" in url

        callback = browser.get(maya.allow(url))

        assert callback.headers["location"] == "/"
        assert site.signed_in_email(browser) == EMAIL


def test_an_expired_sign_in_is_not_renewed_after_a_sign_out_at_the_provider(
    server: RunningServer, site: Site, maya: User
) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)
        maya.press(maya.get_page(f"{server.issuer}/account"), "sign-out")

        callback_url = maya.allow(_renewal_url(browser, site))

        assert "error=login_required" in callback_url
        browser.get(callback_url)
        assert site.signed_in_email(browser) is None


def test_a_logout_at_the_site_signs_the_user_out_at_the_provider(server: RunningServer, site: Site, maya: User) -> None:
    with httpx.Client() as browser:
        _log_in(browser, site, maya)

        logout_url = browser.post(f"{site.url}/oidc/logout/").headers["location"]

        assert logout_url.startswith(f"{server.issuer}/oauth/logout")
        assert maya.allow(logout_url) == site.goodbye
        assert site.signed_in_email(browser) is None
        assert maya.get_page(f"{server.issuer}/account").url.path == "/account/sign-in"


def _log_in(browser: httpx.Client, site: Site, user: User) -> None:
    url = browser.get(f"{site.url}/oidc/authenticate/").headers["location"]
    callback = browser.get(user.allow(url))
    assert callback.headers["location"] == "/", callback.text


def _renewal_url(browser: httpx.Client, site: Site) -> str:
    """Expire the sign-in at the site and return the URL to which it redirects for the renewal."""
    browser.get(f"{site.url}/age").raise_for_status()
    return str(browser.get(f"{site.url}/").headers["location"])
