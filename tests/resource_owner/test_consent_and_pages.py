"""Consent belongs to one browser; every page has its headers; what clients say of themselves is text."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import MakeApp, Register, sign_in_new_account
from tests.support.browser_client import CALLBACK, EMAIL, ISSUER, Browser, assert_store_unchanged, redirect_parameters
from tests.support.form import parse_forms
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, consents

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def check_headers(page: TestResponse) -> None:
    """RFC 9700 §4.2.4 and §4.16, on pages, redirects and refusals alike."""
    assert page.headers["Content-Security-Policy"] == CSP, page.status
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "form-action" not in page.headers["Content-Security-Policy"]


def test_every_page_has_its_headers(ada: Browser) -> None:
    asked = ada.authorize()
    pages = [
        asked,
        ada.get(asked.location),
        ada.approve(asked.location),
        ada.get(asked.location),  # answered already
        ada.get("/oauth/consent/unknown"),
        ada.get("/oauth/authorize"),
        ada.authorize(redirect_uri="https://evil.example/"),
        ada.authorize(scope="root"),
        ada.get("/account"),
        ada.get("/account/sign-in"),
        ada.get("/account/sign-up"),
        ada.http.post("/account/sign-in"),
        ada.http.post("/account/sign-out"),
        ada.http.post("/account/revoke"),
        ada.http.post(asked.location),
    ]

    for page in pages:
        check_headers(page)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/account/sign-out"), ("DELETE", "/oauth/authorize"), ("PUT", "/account"), ("GET", "/account/revoke")],
)
def test_a_method_that_a_page_does_not_answer_gets_the_headers_too(ada: Browser, method: str, path: str) -> None:
    refused = ada.http.open(path, method=method)

    assert refused.status_code == 405
    check_headers(refused)


def test_a_failure_of_ours_has_the_headers_and_tells_nothing(
    ada: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug: vk_secret")

    monkeypatch.setattr("valetkey.resource_owner.views.connected_apps.list_connected_apps", broken)

    failed = ada.get("/account")

    assert failed.status_code == 500
    check_headers(failed)
    assert "vk_secret" not in failed.text and "Traceback" not in failed.text
    caplog.clear()


def test_no_page_asks_for_anything_from_elsewhere(ada: Browser) -> None:
    for page in (
        ada.get("/account"),
        ada.get(ada.authorize().location),
        ada.get("/account/sign-in"),
        ada.get("/oauth/authorize"),
    ):
        assert "<script" not in page.text
        assert " style=" not in page.text
        assert 'src="http' not in page.text
        assert "//cdn" not in page.text


HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{7*7}}"""


def test_a_hostile_client_name_is_only_text(ada: Browser, runtime: Runtime, register: Register) -> None:
    evil = Browser(ada.http, register(name=HOSTILE, members={"contacts": ["<b>@x"]}))
    made = clients.find(runtime.store, evil.client.client_id, runtime.clock())
    assert made
    metadata = {**made.metadata, "client_uri": 'javascript:alert("x")'}  # registration refuses it, pages all the same
    runtime.revoke(clients.change(made, metadata=metadata, disabled_at=None))
    asked = evil.authorize()
    pages = [evil.get(asked.location)]
    evil.approve(asked.location)
    pages.append(evil.get("/account"))

    for page in pages:
        assert page.status_code == 200
        assert "&lt;script&gt;" in page.text
        assert "{{7*7}}" in page.text
        for dangerous in ("<script", "<img src=x", "<b>", 'href="javascript'):
            assert dangerous not in page.text


def test_a_hostile_name_of_a_person_is_only_text(app: Flask, runtime: Runtime, ada: Browser) -> None:
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", HOSTILE)

    for page in (eve.get("/account"), eve.get(eve.authorize().location)):
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


def test_a_name_that_is_no_text_is_not_registered(register: Register) -> None:
    for name in ("", " ", "a\nb", "a\u202eb", "x" * 101):
        with pytest.raises(Exception, match="name of 1 to 100"):
            register(name=name)


def test_consent_is_bound_to_the_browser_that_began(ada: Browser, app: Flask, runtime: Runtime) -> None:
    asked = ada.authorize()
    victim = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")
    with assert_store_unchanged(runtime):
        page = victim.get(asked.location)
        answered = victim.submit(asked.location, {"decision": "allow", "scope": ["profile"]}, page_path="/account")

    assert (page.status_code, answered.status_code) == (400, 400)
    assert "Location" not in answered.headers
    assert redirect_parameters(ada.approve(asked.location))["code"]


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_consent_needs_our_own_form(ada: Browser, runtime: Runtime, token: str | None) -> None:
    asked = ada.authorize()
    data = {"decision": "allow", "scope": ["profile"], **({} if token is None else {"csrf_token": token})}
    with assert_store_unchanged(runtime):
        refused = ada.http.post(asked.location, data=data)

    assert refused.status_code == 400
    assert "Location" not in refused.headers


def test_an_address_that_the_app_gave_up_meanwhile_is_not_returned_to(ada: Browser, runtime: Runtime) -> None:
    asked = ada.authorize()
    client, now = clients.find(runtime.store, ada.client.client_id, runtime.clock()), runtime.clock()
    assert client
    moved = {**client.metadata, "redirect_uris": ["https://shop.example/new"]}
    changed = change_feed.add("changed", client.client_id, now, now + 60)
    runtime.revoke(clients.change(client, metadata=moved, disabled_at=None), changed)
    with assert_store_unchanged(runtime):
        answers = ada.get(asked.location), ada.http.post(asked.location, data={"decision": "deny"})

    assert [(answer.status_code, answer.location) for answer in answers] == [(400, None)] * 2


def test_a_consent_that_is_taken_back_at_the_same_moment_gives_no_code(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.obtain_code()
    read_before = consents.find(runtime.store, "ada", ada.client.client_id)
    ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")
    monkeypatch.setattr(consents, "find", lambda *_: read_before)

    assert read_before is not None
    assert "/oauth/consent/" in ada.authorize().location


def test_consent_needs_a_signed_in_person(ada: Browser, app: Flask, runtime: Runtime) -> None:
    stranger = Browser(app.test_client(), ada.client)
    asked = stranger.authorize()
    with assert_store_unchanged(runtime):
        page = stranger.get(asked.location)
        answered = stranger.http.post(asked.location, data={"decision": "allow", "scope": "profile"})

    assert "/account/sign-in?next=" in page.location
    assert answered.status_code == 303
    assert "/account/sign-in" in answered.location


def test_the_page_to_sign_in_on_leads_back_to_consent(app: Flask, ada: Browser) -> None:
    person = Browser(app.test_client(), ada.client)
    asked = person.authorize()
    to_sign_in = person.get(asked.location)

    made = person.sign_up(email="new@example.org", next=redirect_parameters(to_sign_in)["next"])

    assert made.location == asked.location
    assert "Shop" in person.get(to_sign_in.location).text


@pytest.mark.parametrize("decision", ["", "maybe", "ALLOW"])
def test_only_allow_allows(ada: Browser, runtime: Runtime, decision: str) -> None:
    asked = ada.authorize()
    with assert_store_unchanged(runtime):
        assert ada.approve(asked.location, decision).status_code == 400


def test_to_allow_nothing_is_not_to_allow(ada: Browser, runtime: Runtime) -> None:
    asked = ada.authorize()
    with assert_store_unchanged(runtime):
        assert ada.approve(asked.location, scope=()).status_code == 400


def test_consent_shows_scopes_in_words_and_where_the_answer_goes(ada: Browser) -> None:
    page = ada.get(ada.authorize(scope="profile notes:write").location).text

    assert "See your name and picture" in page and "Write notes" in page
    assert "shop.example" in page
    assert EMAIL in page
    assert "Did you start this yourself?" not in page


def test_a_loopback_redirect_is_warned_about(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://localhost/cb"]))

    page = native.get(native.authorize(redirect_uri="http://localhost:4000/cb").location).text

    assert "Did you start this yourself?" in page


def test_a_page_of_this_very_server_is_no_program_on_the_device(ada: Browser, register: Register) -> None:
    """The API reference's Authorize button, where somebody tries it on loopback."""
    docs = Browser(ada.http, register("browser", redirect_uris=[f"{ISSUER}/docs/authorized"]))

    page = docs.get(docs.authorize(redirect_uri=f"{ISSUER}/docs/authorized").location).text

    assert "Did you start this yourself?" not in page


def test_people_of_whom_only_the_sub_is_known_are_not_shown_an_empty_name(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: "17", sign_in_url="/login")
    known = Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], name="Shop", policy="web", redirect_uris=[CALLBACK]),
    )

    page = known.get(known.authorize().location).text

    assert "What it asks for" in page
    assert "Signed in as" not in page
    assert "monogram" not in known.get("/account").text


def test_what_was_left_unticked_is_asked_about_again(ada: Browser) -> None:
    ada.approve(ada.authorize(scope="notes:read profile").location, scope=("profile",))

    assert "code" in redirect_parameters(ada.authorize(scope="profile"))
    assert "/consent/" in ada.authorize(scope="notes:read profile").location


def test_the_second_time_only_the_difference_is_asked_about(ada: Browser) -> None:
    ada.obtain_code(scope=("profile",))
    asked = ada.authorize(scope="notes:read notes:write profile")

    [form] = [form for form in parse_forms(ada.get(asked.location).text) if "allow" in form.buttons]

    assert [value for name, value in form.choices if name == "scope"] == ["notes:read", "notes:write"]
    kept = [value for name, value in form.fields if name == "scope"]
    answered = ada.approve(asked.location, scope=("notes:read", *kept))
    assert ada.redeem(redirect_parameters(answered)["code"]).json["scope"] == "notes:read profile"


def test_an_app_that_wants_to_be_allowed_anew_is_asked_about_whole(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native"))
    for app, prompt in ((ada, "consent"), (native, None)):
        app.approve(app.authorize().location)
        page = app.get(app.authorize(scope="notes:read profile", prompt=prompt).location).text
        assert 'id="scope-profile"' in page and 'id="scope-notes:read"' in page


def test_connected_apps_shows_the_app_and_revoking_ends_its_tokens(ada: Browser, runtime: Runtime) -> None:
    answer = ada.obtain_tokens()
    ada.call(answer["access_token"])
    runtime.last_used.flush()
    page = ada.get("/account").text
    assert "Shop" in page and "See your name and picture" in page
    assert f'id="revoke-{ada.client.client_id}"' in page

    revoked = ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    assert revoked.status_code == 303
    assert ada.call(answer["access_token"]).status_code == 401
    assert ada.refresh(answer["refresh_token"]).status_code == 400
    assert f'id="revoke-{ada.client.client_id}"' not in ada.get("/account").text
    assert "/consent/" in ada.authorize().location


def test_one_person_cannot_revoke_for_another(ada: Browser, app: Flask, runtime: Runtime) -> None:
    token = ada.obtain_tokens()["access_token"]
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    eve.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    assert ada.call(token).status_code == 200


@pytest.mark.parametrize("client_id", ["", "unknown", "%00", "x" * 5000, "%ff"])
def test_revoking_nothing_is_harmless(ada: Browser, client_id: str) -> None:
    revoked = ada.submit(f"/account/revoke?client_id={client_id}", {}, page_path="/account")

    assert revoked.status_code in {303, 400}


def test_paths_can_be_moved(make_app: MakeApp, sqlite_store_url: str) -> None:
    http = make_app(sqlite_store_url, oauth_path="/auth", account_path="/me").test_client()

    told = http.get("/.well-known/oauth-authorization-server").json
    assert told["token_endpoint"].endswith("/auth/token")
    assert http.get("/me/sign-in").status_code == 200
    assert http.get("/account/sign-in").status_code == 404


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_hosts_function_that_names_nobody_signs_nobody_in(
    make_app: MakeApp, sqlite_store_url: str, nobody: str | None
) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: nobody, sign_in_url="/login")

    assert app.test_client().get("/account").location == "/login?next=%2Faccount"
