"""From signing up to taking the key back, in a real browser, with and without JavaScript."""

from __future__ import annotations

import time
from itertools import count

from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp

ASKED = "profile notes:write"
_numbers = count(1)


def test_a_person_signs_up_grants_fewer_and_takes_the_key_back(
    api: ApiServers, app: ThirdPartyApp, new_user_page: Page
) -> None:
    metadata = api.first.metadata

    new_user_page.goto(app.start_authorization(metadata, scope=ASKED))
    expect(new_user_page.get_by_text("Sunflower")).to_be_visible()  # who asks is said before the password is given
    _sign_up(new_user_page)
    expect(new_user_page.get_by_role("heading", level=1)).to_have_text("Allow Sunflower to use your account?")

    new_user_page.click("#deny")
    assert app.read_callback(new_user_page.url)["error"] == "access_denied"

    new_user_page.goto(app.start_authorization(metadata, scope=ASKED))
    new_user_page.get_by_label("Change your notes").uncheck()
    new_user_page.click("#allow")
    tokens = app.redeem(new_user_page.url)
    assert tokens["scope"] == "profile"

    assert api.call(tokens["access_token"]).json()["scope"] == ["profile"]
    refused = api.call(tokens["access_token"], "/api/notes")
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert set(api.call_every_process(tokens["access_token"]).values()) == {200}

    _wait_until_the_page_says_when_it_was_last_used(new_user_page, f"{api.url}/account")
    expect(new_user_page.get_by_role("heading", name="Sunflower")).to_be_visible()
    expect(new_user_page.get_by_text("See your name and picture")).to_be_visible()
    expect(new_user_page.get_by_text("Change your notes")).to_have_count(0)

    new_user_page.click(f"#revoke-{app.client_id}")
    expect(new_user_page.get_by_text("No app can use your account.")).to_be_visible()
    api.assert_revoked_everywhere_within_one_second(tokens["access_token"])
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_on_a_second_visit_only_what_is_new_is_asked_and_nothing_new_is_not(
    api: ApiServers, app: ThirdPartyApp, page: Page
) -> None:
    metadata = api.first.metadata
    page.goto(app.start_authorization(metadata, scope="profile"))
    _sign_up(page)
    page.click("#allow")
    app.redeem(page.url)

    page.goto(app.start_authorization(metadata, scope="profile"))
    assert app.redeem(page.url)["scope"] == "profile"

    page.goto(app.start_authorization(metadata, scope=ASKED))
    expect(page.locator("label", has_text="Change your notes")).to_be_visible()
    expect(page.locator("label", has_text="See your name")).to_have_count(0)
    page.click("#allow")
    assert app.redeem(page.url)["scope"] == "notes:write profile"


def _sign_up(page: Page) -> None:
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Name").fill("Noor")
    page.get_by_label("E-mail address").fill(f"noor-{next(_numbers)}@example.com")
    page.get_by_label("Password").fill("forty quiet otters")
    page.click("#sign-up")


def _wait_until_the_page_says_when_it_was_last_used(page: Page, account: str) -> None:
    """Last uses are written in batches of a second."""
    deadline = time.monotonic() + 5
    page.goto(account)
    while page.get_by_text("not yet").count():
        assert time.monotonic() < deadline, "the account page never said when the app was last used"
        page.wait_for_timeout(100)
        page.reload()
    expect(page.locator("dt", has_text="Last used")).to_be_visible()
