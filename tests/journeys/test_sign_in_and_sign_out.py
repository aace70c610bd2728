"""Sign-in, failed sign-in and sign-out, with and without JavaScript."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.user import EMAIL, PASSWORD


def test_the_message_for_a_wrong_password_does_not_reveal_whether_the_account_exists(
    api: ApiServers, new_user_page: Page
) -> None:
    messages = []
    for email in (EMAIL, "nobody@example.com"):
        new_user_page.goto(f"{api.url}/account/sign-in")
        _sign_in(new_user_page, email, "not the password")
        messages.append(new_user_page.get_by_role("alert").inner_text())
        expect(new_user_page.get_by_label("E-mail address")).to_have_value(email)
        expect(new_user_page.get_by_label("Password")).to_have_value("")
    assert messages == ["The e-mail address or the password is wrong."] * 2
    assert not _session_cookie(new_user_page)


def test_sign_out_ends_the_session_even_for_a_stolen_cookie(api: ApiServers, new_user_page: Page) -> None:
    new_user_page.goto(f"{api.url}/account/sign-in")
    _sign_in(new_user_page, EMAIL, PASSWORD)
    expect(new_user_page.get_by_role("heading", name="Your account")).to_be_visible()
    session = _session_cookie(new_user_page)
    cookies = new_user_page.context.cookies()
    name = next(cookie["name"] for cookie in cookies if cookie["name"].startswith("valetkey_session"))

    new_user_page.click("#sign-out")

    expect(new_user_page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert not _session_cookie(new_user_page)
    new_user_page.context.add_cookies([{"name": name, "value": session, "url": api.url}])
    new_user_page.goto(f"{api.url}/account")
    expect(new_user_page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_another_account_can_be_chosen_on_the_consent_page(api: ApiServers, app: ThirdPartyApp, page: Page) -> None:
    api.first.deployment.create_user("omar@example.com", PASSWORD, name="Omar")
    page.goto(app.start_authorization(api.first.metadata, scope="profile"))
    _sign_in(page, EMAIL, PASSWORD)
    expect(page.locator(".owner")).to_contain_text("Maya")

    page.get_by_role("link", name="Use another account").click()
    _sign_in(page, "omar@example.com", PASSWORD)

    expect(page.locator(".owner")).to_contain_text("Omar")
    page.click("#allow")
    assert app.redeem(page.url)["scope"] == "profile"


def test_sign_in_does_not_redirect_to_another_site(api: ApiServers, page: Page) -> None:
    page.goto(f"{api.url}/account/sign-in?next=//evil.example/%5C")
    _sign_in(page, EMAIL, PASSWORD)
    assert page.url == f"{api.url}/account"


def test_a_consent_page_is_refused_in_another_browser(
    api: ApiServers, app: ThirdPartyApp, page: Page, new_user_page: Page
) -> None:
    page.goto(app.start_authorization(api.first.metadata, scope="profile"))
    _sign_in(page, EMAIL, PASSWORD)
    consent = page.url

    new_user_page.goto(f"{api.url}/account/sign-in")
    _sign_in(new_user_page, EMAIL, PASSWORD)
    response = new_user_page.goto(consent)

    assert response is not None
    assert response.status == 400
    expect(new_user_page.locator("#allow")).to_have_count(0)


def _sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.click("#sign-in")


def _session_cookie(page: Page) -> str:
    """Return the value of the session cookie, or an empty string if there is none."""
    cookies = page.context.cookies()
    return next((cookie["value"] for cookie in cookies if cookie["name"].startswith("valetkey_session")), "")
