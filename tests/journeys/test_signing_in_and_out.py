"""Signing in, failing to, and signing out, with and without JavaScript."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.user import EMAIL, PASSWORD


def test_a_wrong_password_is_told_without_saying_whether_the_account_exists(api: ApiServers, visitor: Page) -> None:
    told = []
    for email in (EMAIL, "nobody@example.com"):
        visitor.goto(f"{api.url}/account/sign-in")
        _sign_in(visitor, email, "not the password")
        told.append(visitor.get_by_role("alert").inner_text())
        expect(visitor.get_by_label("E-mail address")).to_have_value(email)
        expect(visitor.get_by_label("Password")).to_have_value("")
    assert told == ["The e-mail address or the password is wrong."] * 2
    assert not _session(visitor)


def test_who_signs_out_is_out(api: ApiServers, visitor: Page) -> None:
    visitor.goto(f"{api.url}/account/sign-in")
    _sign_in(visitor, EMAIL, PASSWORD)
    expect(visitor.get_by_role("heading", name="Your account")).to_be_visible()
    session = _session(visitor)

    visitor.click("#sign-out")

    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()
    assert not _session(visitor)
    visitor.context.add_cookies([{"name": "valetkey_session", "value": session, "url": api.url}])  # kept by a thief
    visitor.goto(f"{api.url}/account")
    expect(visitor.get_by_role("heading", name="Sign in")).to_be_visible()


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


def test_after_signing_in_nobody_is_sent_to_another_site(api: ApiServers, page: Page) -> None:
    page.goto(f"{api.url}/account/sign-in?next=//evil.example/%5C")
    _sign_in(page, EMAIL, PASSWORD)
    assert page.url == f"{api.url}/account"


def test_a_consent_page_is_worth_nothing_in_another_browser(
    api: ApiServers, app: ThirdPartyApp, page: Page, visitor: Page
) -> None:
    page.goto(app.start_authorization(api.first.metadata, scope="profile"))
    _sign_in(page, EMAIL, PASSWORD)
    consent = page.url

    visitor.goto(f"{api.url}/account/sign-in")
    _sign_in(visitor, EMAIL, PASSWORD)
    answer = visitor.goto(consent)

    assert answer is not None
    assert answer.status == 400
    expect(visitor.locator("#allow")).to_have_count(0)


def _sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.click("#sign-in")


def _session(page: Page) -> str:
    return next((c["value"] for c in page.context.cookies() if c["name"] == "valetkey_session"), "")
