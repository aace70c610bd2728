"""Who gets the response to a decision again: the same browser, for the same decision, until the code is redeemed."""

from __future__ import annotations

import re

from flask import Flask

from tests.support.browser_client import Browser, redirect_parameters, sign_in_to_account
from tests.support.clock import Clock
from valetkey.runtime import Runtime


def decided_url(ada: Browser) -> tuple[str, str, dict[str, str]]:
    """Allow a request; return the URL of its page, the redirect to the client, and the submitted form."""
    page_url = ada.authorize().location
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', ada.get(page_url).text)
    assert token
    form = {"decision": "allow", "scope": "profile", "csrf_token": token[1]}
    return page_url, ada.http.post(page_url, data=form).location, form


def test_the_same_decision_gets_the_same_redirect_until_the_code_is_redeemed(ada: Browser) -> None:
    page_url, location, form = decided_url(ada)

    repeated = ada.http.post(page_url, data=form)
    assert (repeated.status_code, repeated.location) == (303, location)
    assert ada.redeem(redirect_parameters(repeated)["code"]).status_code == 200
    late = ada.http.post(page_url, data=form)
    assert late.location is None
    assert "You already allowed this request" in late.text


def test_another_decision_does_not_get_the_code(ada: Browser) -> None:
    page_url, _, form = decided_url(ada)

    denied = ada.http.post(page_url, data={**form, "decision": "deny"})

    assert denied.location is None
    assert "You already allowed this request" in denied.text


def test_the_redirect_is_not_repeated_after_the_code_has_expired(ada: Browser, clock: Clock) -> None:
    page_url, _, form = decided_url(ada)
    clock.forward(61)

    assert ada.http.post(page_url, data=form).location is None


def test_another_browser_does_not_get_the_code(ada: Browser, app: Flask, runtime: Runtime) -> None:
    page_url, location, form = decided_url(ada)
    other = sign_in_to_account(Browser(app.test_client(), ada.client), runtime, "ada")

    for response in (other.http.post(page_url, data=form), other.get(page_url)):
        assert response.location != location
        assert "code=" not in (response.location or "")
