"""From sign-up and consent to revocation, in a real browser, with and without JavaScript."""

from __future__ import annotations

import time
from itertools import count

from playwright.sync_api import Browser, Page, expect

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp

REQUESTED_SCOPE = "profile notes:write"
PASSWORD = "forty quiet otters"
_numbers = count(1)


def test_a_user_signs_up_allows_some_of_the_scopes_and_revokes_access(
    api: ApiServers, app: ThirdPartyApp, new_user_page: Page
) -> None:
    metadata = api.first.metadata

    new_user_page.goto(app.start_authorization(metadata, scope=REQUESTED_SCOPE))
    expect(new_user_page.get_by_text("Sunflower")).to_be_visible()  # the sign-in page names the app
    _sign_up(new_user_page)
    expect(new_user_page.get_by_role("heading", level=1)).to_have_text("Allow Sunflower to use your account?")

    new_user_page.click("#deny")
    assert app.read_callback(new_user_page.url)["error"] == "access_denied"

    new_user_page.goto(app.start_authorization(metadata, scope=REQUESTED_SCOPE))
    new_user_page.get_by_label("Change your notes").uncheck()
    new_user_page.click("#allow")
    tokens = app.redeem(new_user_page.url)
    assert tokens["scope"] == "profile"

    assert api.call(tokens["access_token"]).json()["scope"] == ["profile"]
    refused = api.call(tokens["access_token"], "/api/notes")
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert set(api.call_every_process(tokens["access_token"]).values()) == {200}

    _wait_for_last_use(new_user_page, f"{api.url}/account")
    expect(new_user_page.get_by_role("heading", name="Sunflower")).to_be_visible()
    expect(new_user_page.get_by_text("See your name and picture")).to_be_visible()
    expect(new_user_page.get_by_text("Change your notes")).to_have_count(0)

    new_user_page.click(f"#revoke-{app.client_id}")
    expect(new_user_page.get_by_text("No app can use your account.")).to_be_visible()
    api.assert_revoked_everywhere_within_one_second(tokens["access_token"])
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_second_request_asks_only_for_new_scopes_and_for_nothing_if_there_are_none(
    api: ApiServers, app: ThirdPartyApp, page: Page
) -> None:
    metadata = api.first.metadata
    page.goto(app.start_authorization(metadata, scope="profile"))
    _sign_up(page)
    page.click("#allow")
    app.redeem(page.url)

    page.goto(app.start_authorization(metadata, scope="profile"))
    assert app.redeem(page.url)["scope"] == "profile"

    page.goto(app.start_authorization(metadata, scope=REQUESTED_SCOPE))
    expect(page.locator("label", has_text="Change your notes")).to_be_visible()
    expect(page.locator("label", has_text="See your name")).to_have_count(0)
    page.click("#allow")
    assert app.redeem(page.url)["scope"] == "notes:write profile"


def test_what_a_user_unticks_on_the_laptop_is_withdrawn_from_the_phone(
    api: ApiServers, app: ThirdPartyApp, page: Page, browser: Browser
) -> None:
    metadata = api.first.metadata
    page.goto(app.start_authorization(metadata, scope=REQUESTED_SCOPE))
    email = _sign_up(page)
    page.click("#allow")
    on_phone = app.redeem(page.url)
    assert set(api.call_every_process(on_phone["access_token"]).values()) == {200}

    with browser.new_context() as laptop_context:
        laptop = laptop_context.new_page()
        laptop.goto(app.start_authorization(metadata, scope=REQUESTED_SCOPE) + "&prompt=consent")
        laptop.get_by_label("E-mail address").fill(email)
        laptop.get_by_label("Password").fill(PASSWORD)
        laptop.click("#sign-in")
        expect(laptop.get_by_text("The app then loses this permission on all your devices.")).to_be_visible()
        laptop.get_by_label("See your name and picture").uncheck()
        laptop.click("#allow")
        api.assert_revoked_everywhere_within_one_second(on_phone["access_token"])
        on_laptop = app.redeem(laptop.url)

    assert on_laptop["scope"] == "notes:write"
    refreshed = app.refresh(on_phone["refresh_token"]).json()
    assert refreshed["scope"] == "notes:write"
    assert api.call(refreshed["access_token"]).status_code == 403
    assert api.call(refreshed["access_token"], "/api/notes").status_code == 200
    page.goto(f"{api.url}/account")
    expect(page.get_by_text("Change your notes")).to_be_visible()
    expect(page.get_by_text("See your name and picture")).to_have_count(0)


def _sign_up(page: Page) -> str:
    """Create an account and return its e-mail address."""
    email = f"noor-{next(_numbers)}@example.com"
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Name").fill("Noor")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.click("#sign-up")
    return email


def _wait_for_last_use(page: Page, account_url: str) -> None:
    """Reload the account page until it shows when the app was last used. Last uses are written once per second."""
    deadline = time.monotonic() + 5
    page.goto(account_url)
    while page.get_by_text("not yet").count():
        assert time.monotonic() < deadline, "the account page does not show when the app was last used"
        page.wait_for_timeout(100)
        page.reload()
    expect(page.locator("dt", has_text="Last used")).to_be_visible()
