"""Phone, light and dark, keyboard, contrast: what WCAG 2.2 AA asks and a browser can measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.site import LONG_EMAIL, Site
from tests.support.accessibility import (
    FIND_NAMELESS_ELEMENTS,
    FIND_TARGETS,
    FIND_TEXTS,
    contrast_ratio,
    parse_color,
    relative_luminance,
)
from tests.support.user import PASSWORD

Visit = Callable[[Page], None]
Scheme = Literal["light", "dark"]


@pytest.fixture(params=["light", "dark"])
def person(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Somebody with a small phone, set to light or to dark."""
    viewport = {"width": 320, "height": 640}  # WCAG 2.2 §1.4.10
    with browser.new_context(color_scheme=request.param, viewport=viewport) as context:
        yield context.new_page()


def test_on_a_small_phone_in_light_and_dark_a_page_is_read_and_pressed_with_ease(
    person: Page, open_page: Visit
) -> None:
    complaints: list[str] = []
    person.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    open_page(person)
    person.wait_for_load_state("load")  # with its style sheet

    assert person.evaluate("document.documentElement.scrollWidth") <= 320  # §1.4.10: no scrolling sideways
    small = [target for target in person.evaluate(FIND_TARGETS) if min(target["width"], target["height"]) < 24]
    assert small == []  # §2.5.8
    assert person.evaluate(FIND_NAMELESS_ELEMENTS) == []  # §4.1.2
    faint = [text for text in person.evaluate(FIND_TEXTS) if contrast_ratio(text["color"], text["behind"]) < 4.5]
    assert faint == []  # §1.4.3
    assert person.locator("h1").count() == 1
    assert person.title()
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_dark_is_dark_and_light_is_light(browser: Browser, site: Site) -> None:
    luminance = {}
    for scheme in ("light", "dark"):
        with browser.new_context(color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(f"{site.url}/account/sign-in")
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            luminance[scheme] = relative_luminance(parse_color(background)[:3])
    assert luminance["light"] > 0.7
    assert luminance["dark"] < 0.05


def test_one_signs_in_and_consents_by_keyboard_alone(page: Page, site: Site) -> None:
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
    with page.expect_request("https://app.example/**") as back:
        _tab_to(page, "allow")
        page.keyboard.press("Enter")
    assert "code=" in back.value.url


def test_nobody_can_put_a_page_into_a_frame_or_run_a_script_in_it(page: Page, open_page: Visit) -> None:
    answers: list[Any] = []
    page.on("response", lambda response: answers.append(response) if response.request.is_navigation_request() else None)
    open_page(page)
    policy = answers[-1].headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert page.locator("script, [style], [onclick]").count() == 0


def _tab_to(page: Page, identifier: str) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == identifier:
            return
    raise AssertionError(f"no way by Tab to {identifier}")
