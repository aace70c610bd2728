"""The API reference at ``/docs`` in a real browser: authorize, and call the API from the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.accessibility import FIND_NAMELESS_ELEMENTS, FIND_TARGETS, FIND_TEXTS, contrast_ratio
from tests.support.user import EMAIL, PASSWORD
from tests.support.valetkey_server import Deployment, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    app = Path(__file__).with_name("api_with_reference.py")
    deployment = Deployment(tmp_path_factory.mktemp("reference"), app=app)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


def _authorize(page: Page, server: RunningServer, email: str = EMAIL) -> None:
    page.goto(f"{server.url}/docs#op-search")
    page.click("#authorize")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.click("#sign-in")


def test_a_developer_authorizes_on_the_page_and_calls_the_api_with_the_token(page: Page, server: RunningServer) -> None:
    console_errors: list[str] = []
    page.on("console", lambda message: console_errors.append(message.text) if message.type == "error" else None)
    _authorize(page, server)
    expect(page.get_by_role("heading", level=1)).to_contain_text("API reference")
    page.click("#allow")
    expect(page.locator("#authorized-words")).to_contain_text("notes:read, notes:write")
    assert page.url == f"{server.url}/docs#op-search"  # the code does not stay in the browser's history

    search = page.locator("#op-search-try")
    search.get_by_label("q").fill("otter")
    search.get_by_role("button").click()
    expect(search.locator(".result .status")).to_have_text("200")
    expect(search.locator(".result")).to_contain_text('"default";q=100;w=60')
    expect(search.locator(".result")).to_contain_text('"default";r=')
    expect(search.locator(".result pre")).to_contain_text('"text": "otter"')

    add = page.locator("#op-add-try")
    add.get_by_label("Body").fill(json.dumps({"text": "forty quiet otters"}))
    add.get_by_role("button").click()
    expect(add.locator(".result .status")).to_have_text("201")

    storage = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert storage == '[{},{},""]'  # the token is only in the memory of the page
    page.reload()
    expect(page.locator("#authorize")).to_be_visible()
    assert console_errors == []


def test_forgetting_the_token_revokes_it(page: Page, server: RunningServer) -> None:
    server.deployment.create_user("ines@example.com", PASSWORD)
    _authorize(page, server, "ines@example.com")
    page.click("#allow")
    with page.expect_response("**/oauth/revoke") as revoked:
        page.click("#forget")
    assert revoked.value.status == 200
    search = page.locator("#op-search-try")
    search.get_by_role("button").click()
    expect(search.locator(".result .status")).to_have_text("401")
    expect(search.locator(".result")).to_contain_text("Bearer realm=")


def test_at_least_one_scope_must_be_ticked(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/docs")
    for box in page.locator("#authorize-form [name=scope]").all():
        box.uncheck()

    page.click("#authorize")

    expect(page.locator("#authorize-problem")).to_have_text("Tick at least one scope.")
    assert page.url == f"{server.url}/docs"


def test_the_page_has_no_token_after_the_user_denied(browser: Browser, server: RunningServer) -> None:
    with browser.new_context() as context:
        server.deployment.create_user("noor@example.com", PASSWORD)
        page = context.new_page()
        page.goto(f"{server.url}/docs")
        page.get_by_label("Change and delete your notes").uncheck()
        page.click("#authorize")
        page.get_by_label("E-mail address").fill("noor@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.click("#sign-in")
        expect(page.get_by_text("Read your notes")).to_be_visible()
        expect(page.get_by_text("Change and delete your notes")).to_have_count(0)
        page.click("#deny")
        expect(page.locator("#authorize-problem")).to_have_text("You did not allow it. Nothing was given to this page.")


def test_a_code_that_the_page_did_not_request_is_not_redeemed(page: Page, server: RunningServer) -> None:
    request_urls: list[str] = []
    page.on("request", lambda request: request_urls.append(request.url))
    page.goto(f"{server.url}/docs/authorized?code=stolen&state=guessed&iss={server.url}")
    expect(page.locator("#authorize-problem")).to_contain_text("not to a question of this page")
    assert not [url for url in request_urls if "/oauth/token" in url]


def test_a_public_operation_is_called_without_a_token(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/docs")
    status = page.locator("#op-status-try")
    status.get_by_label("colour").select_option("red")
    status.get_by_role("button").click()
    expect(status.locator(".result .status")).to_have_text("200")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_on_a_small_phone(browser: Browser, server: RunningServer, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme, viewport={"width": 320, "height": 640}) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{server.url}/docs")
        page.locator("#op-search-try button").click()
        expect(page.locator("#op-search-try .result .status")).to_have_text("401")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320  # WCAG 2.2 §1.4.10
        targets = page.evaluate(FIND_TARGETS)
        assert [target for target in targets if 0 < min(target["width"], target["height"]) < 24] == []  # §2.5.8
        assert page.evaluate(FIND_NAMELESS_ELEMENTS) == []  # §4.1.2
        texts = page.evaluate(FIND_TEXTS)
        assert [text for text in texts if contrast_ratio(text["color"], text["behind"]) < 4.5] == []  # §1.4.3


def test_the_whole_reference_can_be_read_without_javascript(browser: Browser, server: RunningServer) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/docs")
        expect(page.locator("#op-search dd").first).to_have_text("Needs the scope notes:read (Read your notes).")
        expect(page.get_by_text("Sending requests from this page needs JavaScript")).to_be_visible()
        expect(page.locator("form.try")).to_have_count(3)
        assert not any(form.is_visible() for form in page.locator("form.try").all())


def test_an_operation_can_be_called_with_the_keyboard_only(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/docs")
    page.locator("#op-status-try select").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"  # §2.4.7
    page.keyboard.press("Enter")
    expect(page.locator("#op-status-try .result .status")).to_have_text("200")
