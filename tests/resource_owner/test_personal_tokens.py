"""The pages of personal access tokens: a token is shown once, and creating one requires a recent sign-in and a form."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import SCOPES, Browser, find_secrets, redirect_parameters, sign_in_new_account
from tests.support.clock import Clock
from tests.support.personal_tokens import create_token
from tests.support.refusals import check_headers
from tests.support.store_assertions import assert_store_unchanged
from valetkey.runtime import Runtime
from valetkey.storage import personal_access_tokens

PAGE, NEW = "/account/tokens", "/account/tokens/new"
DAY = 86400.0


def form_of(page: TestResponse) -> dict[str, str]:
    """Return the hidden fields of the form on a page."""
    return dict(re.findall(r'name="(csrf_token|submission)"[^>]*value="([^"]+)"', page.text))


def create(ada: Browser, **changes: Any) -> TestResponse:
    page = ada.get(NEW)
    data = {"name": "Backup", "scope": ["profile"], "expires_in": "30", **form_of(page), **changes}
    return ada.http.post(NEW, data=data)


def stored_tokens(runtime: Runtime, owner: str = "ada") -> list[personal_access_tokens.PersonalToken]:
    return personal_access_tokens.list_by_owner(runtime.store, owner)


def test_a_token_is_shown_once_and_works_until_it_is_revoked(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    assert "You have no tokens" in ada.get(PAGE).text

    created = create(ada)

    check_headers(created)
    (token,) = find_secrets(created.text)
    assert ada.call(token).status_code == 200
    runtime.usage.flush()
    listed = ada.get(PAGE)
    assert find_secrets(listed.text) == []
    assert "Backup" in listed.text and token[:11] in listed.text and "See your name and picture" in listed.text
    assert "not yet" not in listed.text
    token_id = stored_tokens(runtime)[0].token_id

    revoked = ada.submit(f"{PAGE}/revoke?token_id={token_id}", {}, page_path=PAGE)

    assert revoked.status_code == 303
    assert ada.call(token).status_code == 401
    assert "Revoked" in ada.get(PAGE).text
    assert f'id="revoke-{token_id}"' not in ada.get(PAGE).text


def test_an_incomplete_form_says_what_is_missing(ada: Browser) -> None:
    complete = {"name": "Backup", "expires_in": "30", "scope": "profile", "submission": "a" * 22}

    assert "Choose when it expires." in ada.submit(NEW, complete | {"expires_in": ""}, page_path=NEW).text
    assert "Fill it in again." in ada.submit(NEW, complete | {"submission": ""}, page_path=NEW).text


def test_the_account_page_links_to_the_tokens(ada: Browser) -> None:
    assert 'href="/account/tokens"' in ada.get("/account").text


def test_every_page_of_tokens_has_its_headers(ada: Browser, runtime: Runtime) -> None:
    pages = [ada.get(PAGE), ada.get(NEW), create(ada, name=""), ada.http.post(NEW), ada.http.post(f"{PAGE}/revoke")]
    pages += [ada.http.open(path, method="DELETE") for path in (PAGE, NEW, f"{PAGE}/revoke")]

    for page in pages:
        check_headers(page)


def test_a_link_fills_in_the_form_and_creates_nothing(ada: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        page = ada.get(NEW, query_string={"name": "CI <b>", "scope": "notes:read profile", "expires_in": "90"}).text

    assert 'value="CI &lt;b&gt;"' in page
    selected = re.findall(r'name="scope" value="([^"]+)"[^>]*checked', page)
    assert selected == ["notes:read", "profile"]
    assert '<option selected value="90">' in page


@pytest.mark.parametrize(
    ("query", "choice"),
    [
        ("", "30"),
        ("expires_in=366", "30"),
        ("expires_in=-1", "30"),
        ("expires_in=0", "30"),
        ("expires_in=²", "30"),
        ("expires_in=x&scope=%22&scope=root", "30"),
        ("expires_in=45", "date"),
        ("name=" + "x" * 5000, "30"),
    ],
)
def test_invalid_parameters_of_a_link_are_ignored(ada: Browser, query: str, choice: str) -> None:
    page = ada.get(f"{NEW}?{query}")

    assert page.status_code == 200
    assert f'<option selected value="{choice}">' in page.text


def test_submitting_the_same_form_again_creates_no_second_token(ada: Browser, runtime: Runtime) -> None:
    data = {"name": "Backup", "scope": ["profile"], "expires_in": "30", **form_of(ada.get(NEW))}
    assert ada.http.post(NEW, data=data).status_code == 200

    repeated = ada.http.post(NEW, data=data)

    assert repeated.status_code == 400
    assert "already created" in repeated.text
    assert len(stored_tokens(runtime)) == 1


def test_a_token_expires_at_the_end_of_the_chosen_day(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    day = datetime.fromtimestamp(clock() + 20 * DAY, UTC).date()

    assert create(ada, expires_in="date", expires_on=day.isoformat()).status_code == 200

    end = datetime.fromtimestamp(stored_tokens(runtime)[0].expires_at, UTC)
    assert (end.date() - day).days == 1 and (end.hour, end.minute) == (0, 0)


def test_a_token_for_the_last_possible_day_expires_after_the_maximum_lifetime(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    last = datetime.fromtimestamp(clock() + 365 * DAY, UTC).date()

    assert create(ada, expires_in="date", expires_on=last.isoformat()).status_code == 200

    assert stored_tokens(runtime)[0].expires_at == clock() + 365 * DAY


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"scope": []},
        {"scope": ["root"]},
        {"scope": ["openid"]},
        {"scope": ["profile notes:read"]},
        {"expires_in": ""},
        {"expires_in": "31"},
        {"expires_in": "date"},
        {"expires_in": "date", "expires_on": "2020-01-01"},
        {"expires_in": "date", "expires_on": "9999-12-31"},
        {"expires_in": "date", "expires_on": "soon"},
        {"submission": ""},
        {"submission": "x"},
        {"submission": "x" * 22 + "\n"},
        {"csrf_token": ""},
        {"csrf_token": "x" * 64},
    ],
)
def test_an_invalid_form_creates_no_token(ada: Browser, runtime: Runtime, changes: dict[str, Any]) -> None:
    with assert_store_unchanged(runtime):
        refused = create(ada, **changes)

    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    check_headers(refused)


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": " "}, "name", "The name is empty"),
        ({"name": "x\u202ey"}, "name", "The name contains U+202E"),
        ({"name": "x" * 101}, "name", "Enter at most 100 characters.<"),
        ({"expires_in": "date"}, "expires_on", "Choose the date on which the token expires."),
        ({"expires_in": "date", "expires_on": "soon"}, "expires_on", "Choose the date on which the token expires."),
        ({"expires_in": "date", "expires_on": "2020-01-01"}, "expires_on", "Choose a date in the future."),
        ({"expires_in": "date", "expires_on": "9999-12-31"}, "expires_on", "Choose a date within 365 days."),
    ],
)
def test_a_field_with_a_wrong_value_is_marked(ada: Browser, changes: dict[str, str], field: str, sentence: str) -> None:
    page = create(ada, **changes).text

    assert re.findall(r'<p class="error" id="(\w+)-error">', page) == [field]
    assert re.search(rf'<input[^>]*aria-invalid="true"[^>]*id="{field}"', page)
    error = re.search(rf'id="{field}-error">([^<]*<)', page)
    assert error and error[1].startswith(sentence)


@pytest.mark.parametrize("date", ["2020-01-01", "soon", ""])
def test_a_date_that_was_entered_before_another_lifetime_was_chosen_is_ignored(ada: Browser, date: str) -> None:
    assert create(ada, expires_in="30", expires_on=date).status_code == 200


def test_listing_and_creating_tokens_requires_a_sign_in(ada: Browser, app: Flask, runtime: Runtime) -> None:
    signed_out = Browser(app.test_client(), ada.client)
    submitted = form_of(ada.get(NEW))
    with assert_store_unchanged(runtime):
        for response in (signed_out.get(PAGE), signed_out.get(NEW), signed_out.http.post(NEW, data=submitted)):
            assert response.status_code == 303
            assert "/account/sign-in?next=" in response.location


def test_creating_a_token_requires_a_recent_sign_in_and_keeps_the_values_of_the_form(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    hidden = form_of(ada.get(NEW))
    clock.forward(3601)
    assert ada.get(PAGE).status_code == 200, "listing and revoking tokens requires no recent sign-in"
    assert "/account/sign-in" in ada.get(f"{NEW}?name=CI").location
    with assert_store_unchanged(runtime):
        data = {"name": "Backup ü", "scope": ["profile", "notes:read"], "expires_in": "90", **hidden}
        to_sign_in = ada.http.post(NEW, data=data)

    next_url = urlsplit(redirect_parameters(to_sign_in)["next"])
    assert next_url.path == NEW
    assert parse_qs(next_url.query) == {"name": ["Backup ü"], "scope": ["notes:read profile"], "expires_in": ["90"]}


def test_a_user_cannot_see_or_revoke_the_tokens_of_another(ada: Browser, app: Flask, runtime: Runtime) -> None:
    (token,) = find_secrets(create(ada).text)
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    eve.submit(f"{PAGE}/revoke?token_id={stored_tokens(runtime)[0].token_id}", {}, page_path=NEW)

    assert "Backup" not in eve.get(PAGE).text
    assert ada.call(token).status_code == 200


def test_revoking_requires_a_valid_csrf_token(ada: Browser, runtime: Runtime) -> None:
    (token,) = find_secrets(create(ada).text)

    refused = ada.http.post(f"{PAGE}/revoke?token_id={stored_tokens(runtime)[0].token_id}", data={"csrf_token": "x"})

    assert refused.status_code == 400
    assert ada.call(token).status_code == 200


def test_html_in_the_name_of_a_token_is_escaped(ada: Browser) -> None:
    hostile = """<script>alert(1)</script>"'>{{7*7}}"""

    pages = [create(ada, name=hostile), ada.get(PAGE), create(ada, name=hostile, scope=[])]

    for page in pages:
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text and "{{7*7}}" in page.text


def test_an_expired_token_is_listed_as_expired(ada: Browser, app: Flask, clock: Clock) -> None:
    create_token(app, lifetime_s=60)
    clock.forward(60)

    page = ada.get(PAGE).text

    assert ">Expired<" in page and "revoke-" not in page


def test_the_path_of_the_tokens_page_can_be_changed_and_the_page_disabled(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    below_account_path = make_app(sqlite_store_url, account_path="/me").test_client()
    own_path = make_app(sqlite_store_url, personal_access_tokens_path="/keys").test_client()
    disabled = make_app(sqlite_store_url, personal_access_tokens_path=None).test_client()

    assert below_account_path.get("/me/tokens").status_code == 303
    assert own_path.get("/keys").status_code == 303
    assert disabled.get("/account/tokens").status_code == 404


def test_the_form_offers_only_the_scopes_of_the_host_api(make_app: MakeApp, ada: Browser, store_url: str) -> None:
    manage = {**SCOPES, "openid": "Know who you are", "tokens:manage": "Manage tokens"}
    app = make_app(store_url, scopes=manage, personal_access_token_api_scope="tokens:manage")
    browser = Browser(app.test_client(), ada.client)
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie
        browser.http.set_cookie(name, cookie.value)

    offered = re.findall(r'name="scope" value="([^"]+)"', browser.get(NEW).text)

    assert offered == ["notes:read", "notes:write", "profile"]
