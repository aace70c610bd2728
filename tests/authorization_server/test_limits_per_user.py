"""Limits of one user over all apps: calls of the API, authorizations without a prompt, and sign-ins."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser, sign_in_new_account
from tests.support.clock import Clock
from valetkey.outbound.errors import TooManyFetches
from valetkey.outbound.fetch_limits import FetchSlots
from valetkey.runtime import Runtime

LIMITS = {
    "user_limit": "4/minute burst 4",
    "silent_authorization_limit": "3/minute burst 3",
    "completed_sign_in_limit": "3/hour burst 3",
}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, **LIMITS)


def test_all_apps_of_one_user_share_the_limit_of_calls(
    app: Flask, ada: Browser, register: Register, runtime: Runtime, clock: Clock
) -> None:
    apps = [Browser(ada.http, register(name=f"App {number}")) for number in range(3)]
    tokens = [browser.obtain_tokens()["access_token"] for browser in apps]
    machine = Browser(app.test_client(), register("machine", name="Robot"))
    machine_token = machine.request_token("client_credentials").json["access_token"]
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    responses = [ada.call(tokens[number % 3]) for number in range(6)]

    assert [response.status_code for response in responses] == [200] * 4 + [429] * 2
    assert '"user";q=4;w=60' in responses[0].headers["RateLimit-Policy"]
    assert eve.call(eve.obtain_tokens()["access_token"]).status_code == 200
    assert {machine.call(machine_token).status_code for _ in range(6)} == {200}
    clock.forward(seconds=15)
    assert ada.call(tokens[0]).status_code == 200


@pytest.mark.parametrize("prompt", [None, "none"])
def test_authorizations_without_a_prompt_are_limited_for_all_apps_of_a_user(
    prompt: str | None, ada: Browser, register: Register, clock: Clock
) -> None:
    other = Browser(ada.http, register(name="Other"))
    for browser in (ada, other):
        browser.obtain_code()

    responses = [browser.authorize(prompt=prompt) for browser in (ada, other, ada, other)]

    assert [response.status_code for response in responses] == [303] * 3 + [429]
    assert responses[3].headers["Retry-After"] == "20"
    assert "Location" not in responses[3].headers, "a redirect would let a looping app begin again"
    clock.forward(seconds=20)
    assert ada.authorize(prompt=prompt).status_code == 303


def test_successful_sign_ins_to_an_account_are_limited(app: Flask, ada: Browser, clock: Clock) -> None:
    browser = Browser(app.test_client(), ada.client)
    browser.sign_up("maya@example.org")

    statuses = [browser.sign_in("maya@example.org").status_code for _ in range(4)]

    assert statuses == [303, 303, 303, 429]
    clock.forward(seconds=1200)
    assert browser.sign_in("maya@example.org").status_code == 303


def test_slow_documents_of_one_site_do_not_hold_the_slots_of_other_sites() -> None:
    for acquire in vars(FetchSlots()).values():
        with ExitStack() as held:
            with pytest.raises(TooManyFetches):
                for number in range(10):
                    held.enter_context(acquire(f"https://SLOW.example:443/{number}"))

            with acquire("https://other.example/1"):
                pass
        with acquire("https://slow.example/1"):
            pass


def test_slow_servers_of_one_kind_do_not_hold_the_slots_of_another() -> None:
    slots = FetchSlots()
    kinds = vars(slots)
    with ExitStack() as held:
        with pytest.raises(TooManyFetches):
            for number in range(10):
                held.enter_context(slots.client_metadata(f"https://slow{number}.example"))

        for kind, acquire in kinds.items():
            if kind != "client_metadata":
                with acquire("https://slow1.example"):
                    pass
