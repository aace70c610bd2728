"""A person makes a token for a program of theirs, copies it, calls with it, and takes it back; operators too."""

from __future__ import annotations

import json
import time

import httpx
from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.support.user import EMAIL, PASSWORD


def test_a_token_is_made_copied_used_and_revoked(api: ApiServers, new_user_page: Page) -> None:
    new_user_page.goto(f"{api.url}/account/tokens/new?name=Backup&scope=profile&expires_in=7")
    new_user_page.get_by_label("E-mail address").fill(EMAIL)
    new_user_page.get_by_label("Password").fill(PASSWORD)
    new_user_page.click("#sign-in")
    expect(new_user_page.locator("#name")).to_have_value("Backup")
    expect(new_user_page.locator("#scope-profile")).to_be_checked()

    new_user_page.click("#create")
    token = _copied(new_user_page)

    answer = api.call(token)
    assert answer.status_code == 200
    assert set(api.call_every_process(token).values()) == {200}
    new_user_page.click("#done")
    expect(new_user_page.get_by_role("heading", name="Backup").first).to_be_visible()
    assert token not in new_user_page.content()
    _shows_last_use(new_user_page)

    new_user_page.locator("button.danger").first.click()
    expect(new_user_page.get_by_text("Revoked").first).to_be_visible()
    api.assert_revoked_everywhere_within_one_second(token)


def test_whoever_finds_one_ends_it_everywhere(api: ApiServers) -> None:
    token = _made_by_operator(api)["token"]
    assert set(api.call_every_process(token).values()) == {200}

    reported = httpx.post(f"{api.url}/oauth/report-leak", json=[{"token": token, "type": "valetkey_personal"}])

    assert reported.status_code == 202
    api.assert_revoked_everywhere_within_one_second(token)


def test_an_operator_makes_lists_and_revokes(api: ApiServers) -> None:
    run = api.first.deployment.run
    made = _made_by_operator(api)
    assert api.call(made["token"]).status_code == 200

    listed = json.loads(run("tokens", "list", "--user", EMAIL, "--json"))
    (mine,) = [one for one in listed if one["id"] == made["id"]]
    assert (mine["name"], mine["state"], mine["scope"]) == ("Nightly", "active", "profile")
    assert made["token"] not in json.dumps(listed)
    assert "Nightly" in run("tokens", "list")

    assert "is revoked" in run("tokens", "revoke", made["id"])
    api.assert_revoked_everywhere_within_one_second(made["token"])
    by_itself = _made_by_operator(api)["token"]
    assert "is revoked" in run("tokens", "revoke", by_itself)


def _made_by_operator(api: ApiServers) -> dict[str, str]:
    words = ("--user", EMAIL, "--name", "Nightly", "--scope", "profile", "--days", "7", "--json")
    return dict(json.loads(api.first.deployment.run("tokens", "create", *words)))


def _copied(page: Page) -> str:
    """What a person's click on the token selects, to be copied."""
    page.click("#value")
    shown = page.locator("#value").inner_text()
    assert page.evaluate("String(window.getSelection())").strip() == shown
    return shown


def _shows_last_use(page: Page) -> None:
    """It is written within a second or so of the call."""
    until = time.monotonic() + 5
    while "not yet" in page.locator("li.card").first.inner_text():
        assert time.monotonic() < until, "the page does not tell that the token was used"
        page.reload()
