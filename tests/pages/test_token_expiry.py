"""The field for the date on which a token expires is hidden unless it is used, and then does not stop the form."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.pages.site_under_test import Site


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_wrong_date_does_not_stop_the_form_after_another_lifetime_was_chosen(
    page: Page, site: Site, is_complete: bool
) -> None:
    page.goto(f"{site.url}/account/tokens/new?name=Backup&scope=notes:read")
    site.sign_in(page)
    page.get_by_label("Expires after").select_option(label="On a date")
    if is_complete:
        page.locator("#expires_on").fill("2001-01-01")
    else:
        page.locator("#expires_on").press_sequentially("12")  # the month only
    page.get_by_label("Expires after").select_option(label="30 days")

    page.click("#create")

    assert page.locator("h1").inner_text() == "Copy your new token now"


def test_a_wrong_date_is_named_below_its_field(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/tokens/new?name=Backup&scope=notes:read")
    site.sign_in(page)
    page.get_by_label("Expires after").select_option(label="On a date")
    page.locator("#expires_on").fill("2001-01-01")

    page.click("#create")

    assert page.locator("#expires_on-error").inner_text() == "Choose a date in the future."
