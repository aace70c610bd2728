"""oidc-client-ts, a browser app on another origin: CORS, silent renewal, two tabs at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.interop.node_program import NODE_DIR
from tests.interop.web_server import WebServer
from tests.support.user import EMAIL, PASSWORD
from tests.support.valetkey_server import RunningServer

LIBRARY = NODE_DIR / "node_modules" / "oidc-client-ts" / "dist" / "browser" / "oidc-client-ts.min.js"
_PAGE = """<!doctype html><title>App</title><link rel="icon" href="data:,"><script src="/library.js"></script>
<script>
const stored = new oidc.WebStorageStateStore({ store: localStorage });
const manager = new oidc.UserManager({ ...%s, userStore: stored });
%s
</script>"""


@pytest.fixture
def app(server: RunningServer) -> Iterator[str]:
    """The URL of a new browser app; no user has allowed it access yet."""
    with WebServer() as web:
        url = f"{web.url}/app"
        created = server.deployment.create_client(
            "browser", name="The page", scope="", redirect_uris=[url, f"{web.url}/silent"]
        )
        settings = {
            "authority": server.issuer,
            "client_id": created["client_id"],
            "redirect_uri": url,
            "silent_redirect_uri": f"{web.url}/silent",
            "scope": "openid profile email",
            "loadUserInfo": True,
            "monitorSession": False,
            "automaticSilentRenew": False,
        }
        settings_json = json.dumps(settings)
        web.pages["/library.js"] = ("text/javascript", LIBRARY.read_bytes())
        web.pages["/app"] = ("text/html", (_PAGE % (settings_json, "")).encode())
        web.pages["/silent"] = ("text/html", (_PAGE % (settings_json, "manager.signinSilentCallback();")).encode())
        yield url


def _sign_in(page: Page, app: str) -> dict[str, Any]:
    """Let Maya sign in and allow access; return the user object of the app."""
    page.goto(app)
    with page.expect_navigation(url="**/account/sign-in**"):
        page.evaluate("() => { manager.signinRedirect() }")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("#sign-in")
    page.click("#allow")
    page.wait_for_url(f"{app}?**")
    user: dict[str, Any] = page.evaluate("async () => ({ ...(await manager.signinCallback()) })")
    return user


def test_a_browser_app_can_sign_in_and_read_userinfo_across_origins(page: Page, app: str) -> None:
    user = _sign_in(page, app)

    assert (user["profile"]["name"], user["profile"]["email"]) == ("Maya", EMAIL)


def test_a_browser_app_can_renew_with_its_refresh_token(page: Page, app: str) -> None:
    user = _sign_in(page, app)

    renewed = page.evaluate("async () => ({ ...(await manager.signinSilent()) })")

    assert renewed["access_token"] != user["access_token"]
    assert renewed["refresh_token"] != user["refresh_token"]
    assert renewed["profile"]["sub"] == user["profile"]["sub"]


def test_a_browser_app_on_loopback_cannot_renew_in_a_hidden_frame(page: Page, app: str) -> None:
    """RFC 8252 §8.6: any program on the device may listen at a loopback redirect URI: the user is asked each time."""
    _sign_in(page, app)
    page.evaluate(
        "async () => manager.storeUser({ ...(await manager.getUser()), refresh_token: undefined, "
        "toStorageString() { return JSON.stringify(this) } })"
    )

    error = page.evaluate("async () => manager.signinSilent().then(() => 'renewed', (refused) => refused.error)")

    assert error == "consent_required"


def test_two_tabs_that_refresh_at_once_both_stay_signed_in(page: Page, app: str) -> None:
    user = _sign_in(page, app)
    other = page.context.new_page()
    other.goto(app)
    bodies = _delay_until_both_arrive(page.context)

    for tab in (page, other):
        with tab.expect_request("**/oauth/token"):
            tab.evaluate("() => { window.renewing = manager.signinSilent() }")
    tokens = [tab.evaluate("async () => (await renewing).access_token") for tab in (page, other)]

    assert len(bodies) == 2
    assert all(user["refresh_token"] in body for body in bodies)
    assert user["access_token"] not in tokens
    for tab in (page, other):
        assert tab.evaluate("async () => (await manager.signinSilent()).access_token") not in tokens


def _delay_until_both_arrive(context: BrowserContext) -> list[str]:
    """Delay the next two token requests until both have arrived; return the list that gets their bodies."""
    routes: list[Route] = []
    bodies: list[str] = []

    def delay(route: Route) -> None:
        if len(bodies) == 2:
            route.continue_()
            return
        routes.append(route)
        bodies.append(route.request.post_data or "")
        if len(bodies) == 2:
            for delayed in routes:
                delayed.continue_()

    context.route("**/oauth/token", delay)
    return bodies
