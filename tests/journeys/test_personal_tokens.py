"""Personal access tokens: users and operators create, use and revoke them."""

from __future__ import annotations

import json
import time

import httpx
from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.support.user import EMAIL, PASSWORD


def test_a_user_creates_copies_uses_and_revokes_a_token(api: ApiServers, new_user_page: Page) -> None:
    new_user_page.goto(f"{api.url}/account/tokens/new?name=Backup&scope=profile&expires_in=7")
    new_user_page.get_by_label("E-mail address").fill(EMAIL)
    new_user_page.get_by_label("Password").fill(PASSWORD)
    new_user_page.click("#sign-in")
    expect(new_user_page.locator("#name")).to_have_value("Backup")
    expect(new_user_page.locator("#scope-profile")).to_be_checked()

    new_user_page.click("#create")
    token = _select_token(new_user_page)

    assert api.call(token).status_code == 200
    assert set(api.call_every_process(token).values()) == {200}
    new_user_page.click("#done")
    expect(new_user_page.get_by_role("heading", name="Backup").first).to_be_visible()
    assert token not in new_user_page.content()
    _wait_for_last_use(new_user_page)

    new_user_page.locator("button.danger").first.click()
    expect(new_user_page.get_by_text("Revoked").first).to_be_visible()
    api.assert_revoked_everywhere_within_one_second(token)


def test_a_leak_report_revokes_a_token_everywhere(api: ApiServers) -> None:
    token = _create_by_command(api)["token"]
    assert set(api.call_every_process(token).values()) == {200}

    reported = httpx.post(f"{api.url}/oauth/report-leak", json=[{"token": token, "type": "valetkey_personal"}])

    assert reported.status_code == 202
    api.assert_revoked_everywhere_within_one_second(token)


def test_an_operator_creates_lists_and_revokes_tokens(api: ApiServers) -> None:
    run = api.first.deployment.run
    created = _create_by_command(api)
    assert api.call(created["token"]).status_code == 200

    tokens = json.loads(run("tokens", "list", "--user", EMAIL, "--json"))
    (listed,) = [token for token in tokens if token["id"] == created["id"]]
    assert (listed["name"], listed["state"], listed["scope"]) == ("Nightly", "active", "profile")
    assert created["token"] not in json.dumps(tokens)
    assert "Nightly" in run("tokens", "list")

    assert "is revoked" in run("tokens", "revoke", created["id"])
    api.assert_revoked_everywhere_within_one_second(created["token"])
    token_value = _create_by_command(api)["token"]
    assert "is revoked" in run("tokens", "revoke", token_value)
    token_value = _create_by_command(api)["token"]
    assert "is revoked" in run("tokens", "revoke", "-", stdin=f"{token_value}\n")


def _create_by_command(api: ApiServers) -> dict[str, str]:
    options = ("--user", EMAIL, "--name", "Nightly", "--scope", "profile", "--days", "7", "--json")
    return dict(json.loads(api.first.deployment.run("tokens", "create", *options)))


def _select_token(page: Page) -> str:
    """Click on the new token, check that the click selects it for copying, and return it."""
    page.click("#value")
    token = page.locator("#value").inner_text()
    assert page.evaluate("String(window.getSelection())").strip() == token
    return token


def _wait_for_last_use(page: Page) -> None:
    """Reload until the page shows that the token was used, which is written about a second after the call."""
    deadline = time.monotonic() + 5
    while "not yet" in page.locator("li.card").first.inner_text():
        assert time.monotonic() < deadline, "the page does not show that the token was used"
        page.reload()
