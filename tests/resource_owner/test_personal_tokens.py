"""The pages of personal access tokens: shown once, fresh sign-in, only a form of ours makes or ends one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.authorization_server.test_personal_tokens import make
from tests.conftest import MakeApp, sign_in_new_account
from tests.resource_owner.test_consent_and_pages import check_headers
from tests.support.browser_client import (
    SCOPES,
    Browser,
    Clock,
    assert_store_unchanged,
    find_secrets,
    redirect_parameters,
)
from valetkey.runtime import Runtime
from valetkey.storage import personal_access_tokens

PAGE, NEW = "/account/tokens", "/account/tokens/new"
DAY = 86400.0


def form_of(page: TestResponse) -> dict[str, str]:
    """The hidden fields of the form on a page."""
    return dict(re.findall(r'name="(csrf_token|token_id)"[^>]*value="([^"]+)"', page.text))


def create(ada: Browser, **changes: Any) -> TestResponse:
    page = ada.get(NEW)
    sent = {"name": "Backup", "scope": ["profile"], "expires_in": "30", **form_of(page), **changes}
    return ada.http.post(NEW, data=sent)


def kept(runtime: Runtime, owner: str = "ada") -> list[personal_access_tokens.PersonalToken]:
    return personal_access_tokens.list_by_owner(runtime.store, owner)


def test_a_token_is_made_shown_once_used_and_revoked(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    assert "You have no tokens" in ada.get(PAGE).text

    made = create(ada)

    check_headers(made)
    (token,) = find_secrets(made.text)
    assert ada.call(token).status_code == 200
    runtime.last_used.flush()
    listed = ada.get(PAGE)
    assert find_secrets(listed.text) == []
    assert "Backup" in listed.text and token[:11] in listed.text and "See your name and picture" in listed.text
    assert "not yet" not in listed.text
    token_id = kept(runtime)[0].token_id

    gone = ada.submit(f"{PAGE}/revoke?token_id={token_id}", {}, page_path=PAGE)

    assert gone.status_code == 303
    assert ada.call(token).status_code == 401
    assert "Revoked" in ada.get(PAGE).text
    assert f'id="revoke-{token_id}"' not in ada.get(PAGE).text


def test_a_form_that_is_not_whole_says_what_is_missing(ada: Browser) -> None:
    whole = {"name": "Backup", "expires_in": "30", "scope": "profile", "token_id": "a" * 22}

    assert "Choose when it expires." in ada.submit(NEW, whole | {"expires_in": ""}, page_path=NEW).text
    assert "Fill it in again." in ada.submit(NEW, whole | {"token_id": ""}, page_path=NEW).text


def test_the_account_page_leads_to_the_tokens(ada: Browser) -> None:
    assert 'href="/account/tokens"' in ada.get("/account").text


def test_every_page_of_tokens_has_its_headers(ada: Browser, runtime: Runtime) -> None:
    pages = [ada.get(PAGE), ada.get(NEW), create(ada, name=""), ada.http.post(NEW), ada.http.post(f"{PAGE}/revoke")]
    pages += [ada.http.open(path, method="DELETE") for path in (PAGE, NEW, f"{PAGE}/revoke")]

    for page in pages:
        check_headers(page)


def test_a_link_fills_in_and_does_nothing_else(ada: Browser, runtime: Runtime) -> None:
    with assert_store_unchanged(runtime):
        page = ada.get(NEW, query_string={"name": "CI <b>", "scope": "notes:read profile", "expires_in": "90"}).text

    assert 'value="CI &lt;b&gt;"' in page
    ticked = re.findall(r'name="scope" value="([^"]+)"[^>]*checked', page)
    assert ticked == ["notes:read", "profile"]
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
def test_a_link_that_asks_for_what_cannot_be_shows_the_plain_form(ada: Browser, query: str, choice: str) -> None:
    page = ada.get(f"{NEW}?{query}")

    assert page.status_code == 200
    assert f'<option selected value="{choice}">' in page.text


def test_the_same_form_sent_again_makes_no_second_token(ada: Browser, runtime: Runtime) -> None:
    sent = {"name": "Backup", "scope": ["profile"], "expires_in": "30", **form_of(ada.get(NEW))}
    assert ada.http.post(NEW, data=sent).status_code == 200

    again = ada.http.post(NEW, data=sent)

    assert again.status_code == 400
    assert "made already" in again.text
    assert len(kept(runtime)) == 1


def test_it_ends_with_the_day_that_was_chosen(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    day = datetime.fromtimestamp(clock() + 20 * DAY, UTC).date()

    assert create(ada, expires_in="date", expires_on=day.isoformat()).status_code == 200

    end = datetime.fromtimestamp(kept(runtime)[0].expires_at, UTC)
    assert (end.date() - day).days == 1 and (end.hour, end.minute) == (0, 0)


def test_the_last_day_that_can_be_chosen_is_cut_at_the_longest_life(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    last = datetime.fromtimestamp(clock() + 365 * DAY, UTC).date()

    assert create(ada, expires_in="date", expires_on=last.isoformat()).status_code == 200

    assert kept(runtime)[0].expires_at == clock() + 365 * DAY


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
        {"token_id": ""},
        {"token_id": "x"},
        {"token_id": "x" * 22 + "\n"},
        {"csrf_token": ""},
        {"csrf_token": "x" * 64},
    ],
)
def test_a_form_with_a_mistake_makes_nothing(ada: Browser, runtime: Runtime, changes: dict[str, Any]) -> None:
    with assert_store_unchanged(runtime):
        refused = create(ada, **changes)

    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    check_headers(refused)


def test_nobody_sees_or_makes_tokens_without_signing_in(ada: Browser, app: Flask, runtime: Runtime) -> None:
    stranger = Browser(app.test_client(), ada.client)
    with assert_store_unchanged(runtime):
        for answer in (stranger.get(PAGE), stranger.get(NEW), stranger.http.post(NEW, data=form_of(ada.get(NEW)))):
            assert answer.status_code == 303
            assert "/account/sign-in?next=" in answer.location


def test_making_one_needs_a_fresh_sign_in_and_keeps_what_was_filled_in(
    ada: Browser, runtime: Runtime, clock: Clock
) -> None:
    filled = form_of(ada.get(NEW))
    clock.forward(3601)
    assert ada.get(PAGE).status_code == 200, "to look at them and to revoke needs none"
    assert "/account/sign-in" in ada.get(f"{NEW}?name=CI").location
    with assert_store_unchanged(runtime):
        sent = {"name": "Backup ü", "scope": ["profile", "notes:read"], "expires_in": "90", **filled}
        away = ada.http.post(NEW, data=sent)

    back = urlsplit(redirect_parameters(away)["next"])
    assert back.path == NEW
    assert parse_qs(back.query) == {"name": ["Backup ü"], "scope": ["notes:read profile"], "expires_in": ["90"]}


def test_one_person_sees_and_ends_nothing_of_anothers(ada: Browser, app: Flask, runtime: Runtime) -> None:
    (token,) = find_secrets(create(ada).text)
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    eve.submit(f"{PAGE}/revoke?token_id={kept(runtime)[0].token_id}", {}, page_path=NEW)

    assert "Backup" not in eve.get(PAGE).text
    assert ada.call(token).status_code == 200


def test_revoking_needs_our_own_form(ada: Browser, runtime: Runtime) -> None:
    (token,) = find_secrets(create(ada).text)

    refused = ada.http.post(f"{PAGE}/revoke?token_id={kept(runtime)[0].token_id}", data={"csrf_token": "x"})

    assert refused.status_code == 400
    assert ada.call(token).status_code == 200


def test_a_hostile_name_is_only_text(ada: Browser) -> None:
    hostile = """<script>alert(1)</script>"'>{{7*7}}"""

    pages = [create(ada, name=hostile), ada.get(PAGE), create(ada, name=hostile, scope=[])]

    for page in pages:
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text and "{{7*7}}" in page.text


def test_an_expired_one_is_told_so(ada: Browser, app: Flask, clock: Clock) -> None:
    make(app, lives=60)
    clock.forward(60)

    page = ada.get(PAGE).text

    assert ">Expired<" in page and "revoke-" not in page


def test_the_page_can_be_moved_and_turned_off(make_app: MakeApp, sqlite_store_url: str) -> None:
    moved = make_app(sqlite_store_url, account_path="/me").test_client()
    named = make_app(sqlite_store_url, personal_access_tokens_path="/keys").test_client()
    off = make_app(sqlite_store_url, personal_access_tokens_path=None).test_client()

    assert moved.get("/me/tokens").status_code == 303
    assert named.get("/keys").status_code == 303
    assert off.get("/account/tokens").status_code == 404


def test_only_what_the_api_knows_is_offered(make_app: MakeApp, ada: Browser, store_url: str) -> None:
    manage = {**SCOPES, "openid": "Know who you are", "tokens:manage": "Manage tokens"}
    app = make_app(store_url, scopes=manage, personal_access_token_api_scope="tokens:manage")
    there = Browser(app.test_client(), ada.client)
    for cookie in ("valetkey_browser", "valetkey_session"):
        found = ada.http.get_cookie(cookie)
        assert found
        there.http.set_cookie(cookie, found.value)

    offered = re.findall(r'name="scope" value="([^"]+)"', there.get(NEW).text)

    assert offered == ["notes:read", "notes:write", "profile"]
