"""The requirements of WCAG 2.2 AA that can be measured in a browser: small screens, contrast, keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.site_under_test import LONG_EMAIL, OpenPage, Site
from tests.support.accessibility import (
    FIND_NAMELESS_ELEMENTS,
    FIND_TARGETS,
    FIND_TEXTS,
    contrast_ratio,
    parse_color,
    relative_luminance,
)
from tests.support.user import PASSWORD


@pytest.fixture(params=["light", "dark"])
def phone_page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """An empty page on a small phone with the light or the dark color scheme."""
    viewport = {"width": 320, "height": 640}  # WCAG 2.2 §1.4.10
    with browser.new_context(color_scheme=request.param, viewport=viewport) as context:
        yield context.new_page()


def test_each_page_meets_wcag_on_a_small_phone_in_light_and_dark(phone_page: Page, open_page: OpenPage) -> None:
    errors: list[str] = []
    phone_page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    open_page(phone_page)
    phone_page.wait_for_load_state("load")  # waits for the style sheet, too

    assert phone_page.evaluate("document.documentElement.scrollWidth") <= 320  # §1.4.10: no horizontal scrolling
    small = [target for target in phone_page.evaluate(FIND_TARGETS) if min(target["width"], target["height"]) < 24]
    assert small == []  # §2.5.8
    assert phone_page.evaluate(FIND_NAMELESS_ELEMENTS) == []  # §4.1.2
    texts = phone_page.evaluate(FIND_TEXTS)
    assert [text for text in texts if contrast_ratio(text["color"], text["behind"]) < 4.5] == []  # §1.4.3
    assert phone_page.locator("h1").count() == 1
    assert phone_page.title()
    assert [text for text in errors if "Content Security Policy" in text] == []


def test_the_background_follows_the_color_scheme(browser: Browser, site: Site) -> None:
    luminance = {}
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(f"{site.url}/account/sign-in")
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            luminance[scheme] = relative_luminance(parse_color(background)[:3])
    assert luminance["light"] > 0.7
    assert luminance["dark"] < 0.05


def test_a_user_can_sign_in_and_consent_with_the_keyboard_only(page: Page, site: Site) -> None:
    page.goto(site.authorization_url())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type(LONG_EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    boxes = page.get_by_role("checkbox")
    expect(boxes).to_have_count(3)
    _tab_to(page, "scope-notes:write")
    page.keyboard.press("Space")
    expect(boxes.and_(page.locator(":checked"))).to_have_count(2)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"  # §2.4.7
    with page.expect_request("https://app.example/**") as callback:
        _tab_to(page, "allow")
        page.keyboard.press("Enter")
    assert "code=" in callback.value.url


def test_no_page_can_be_framed_or_run_scripts(page: Page, open_page: OpenPage) -> None:
    documents: list[Any] = []
    page.on(
        "response", lambda response: documents.append(response) if response.request.is_navigation_request() else None
    )
    open_page(page)
    policy = documents[-1].headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert page.locator("script, [style], [onclick]").count() == 0


def _tab_to(page: Page, identifier: str) -> None:
    """Press Tab until the element with this id has the focus."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == identifier:
            return
    raise AssertionError(f"pressing Tab 20 times does not reach {identifier}")


@pytest.mark.parametrize("viewport", [(1280, 800), (360, 800), (320, 640)], ids=str)
def test_allow_and_deny_are_visible_without_scrolling(browser: Browser, site: Site, viewport: tuple[int, int]) -> None:
    width, height = viewport
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.goto(replace(site, client_id=site.unused_client_id).authorization_url())
        site.sign_in(page)

        for button in ("#deny", "#allow"):
            box = page.locator(button).bounding_box()
            assert box is not None and box["y"] + box["height"] <= height, button
        assert page.evaluate("scrollY") == 0
        groups = page.locator("fieldset.scopes").evaluate_all("groups => groups.map(group => group.className)")
        assert groups == ["scopes identity", "scopes write", "scopes read"]
