"""Consent is bound to one browser, every page has its security headers, and client metadata is escaped."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, EMAIL, ISSUER, Browser, redirect_parameters, sign_in_new_account
from tests.support.form import parse_forms
from tests.support.refusals import check_headers
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, consents


def test_every_page_has_its_headers(ada: Browser) -> None:
    authorization = ada.authorize()
    pages = [
        authorization,
        ada.get(authorization.location),
        ada.approve(authorization.location),
        ada.get(authorization.location),  # decided already
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
        ada.http.post(authorization.location),
    ]

    for page in pages:
        check_headers(page)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/account/sign-out"), ("DELETE", "/oauth/authorize"), ("PUT", "/account"), ("GET", "/account/revoke")],
)
def test_the_405_page_has_the_headers_too(ada: Browser, method: str, path: str) -> None:
    refused = ada.http.open(path, method=method)

    assert refused.status_code == 405
    check_headers(refused)


def test_the_page_of_an_unexpected_error_has_the_headers_and_no_details(
    ada: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug: vk_secret")

    monkeypatch.setattr("valetkey.resource_owner.views.connected_apps.list_connected_apps", fail)

    failed = ada.get("/account")

    assert failed.status_code == 500
    check_headers(failed)
    assert "vk_secret" not in failed.text and "Traceback" not in failed.text
    caplog.clear()


def test_no_page_loads_anything_from_another_origin(ada: Browser) -> None:
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


def test_html_in_a_client_name_is_escaped(ada: Browser, runtime: Runtime, register: Register) -> None:
    hostile = Browser(ada.http, register(name=HOSTILE, members={"contacts": ["<b>@x"]}))
    client = clients.find(runtime.store, hostile.client.client_id, runtime.clock())
    assert client
    # Registration refuses this URI, but pages must not rely on that.
    metadata = {**client.metadata, "client_uri": 'javascript:alert("x")'}
    runtime.store.write_all(clients.change(client, metadata=metadata, disabled_at=None))
    consent_url = hostile.authorize().location
    pages = [hostile.get(consent_url)]
    hostile.approve(consent_url)
    pages.append(hostile.get("/account"))

    for page in pages:
        assert page.status_code == 200
        assert "&lt;script&gt;" in page.text
        assert "{{7*7}}" in page.text
        for dangerous in ("<script", "<img src=x", "<b>", 'href="javascript'):
            assert dangerous not in page.text


def test_html_in_the_name_of_a_user_is_escaped(app: Flask, runtime: Runtime, ada: Browser) -> None:
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", HOSTILE)

    for page in (eve.get("/account"), eve.get(eve.authorize().location)):
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


def test_an_invalid_client_name_is_not_registered(register: Register) -> None:
    for name in ("", " ", "a\nb", "a\u202eb", "x" * 101):
        with pytest.raises(Exception, match="the name "):
            register(name=name)


def test_consent_is_bound_to_the_browser_that_began(ada: Browser, app: Flask, runtime: Runtime) -> None:
    consent_url = ada.authorize().location
    victim = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")
    with assert_store_unchanged(runtime):
        page = victim.get(consent_url)
        submitted = victim.submit(consent_url, {"decision": "allow", "scope": ["profile"]}, page_path="/account")

    assert (page.status_code, submitted.status_code) == (400, 400)
    assert "Location" not in submitted.headers
    assert redirect_parameters(ada.approve(consent_url))["code"]


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_consent_requires_a_valid_csrf_token(ada: Browser, runtime: Runtime, token: str | None) -> None:
    consent_url = ada.authorize().location
    data = {"decision": "allow", "scope": ["profile"], **({} if token is None else {"csrf_token": token})}
    with assert_store_unchanged(runtime):
        refused = ada.http.post(consent_url, data=data)

    assert refused.status_code == 400
    assert "Location" not in refused.headers


def test_a_redirect_uri_that_was_removed_while_consent_was_pending_is_not_used(ada: Browser, runtime: Runtime) -> None:
    consent_url = ada.authorize().location
    client = clients.find(runtime.store, ada.client.client_id, runtime.clock())
    assert client
    metadata = {**client.metadata, "redirect_uris": ["https://shop.example/new"]}
    change = change_feed.add("changed", client.client_id)
    runtime.store.write_all(clients.change(client, metadata=metadata, disabled_at=None), change)
    with assert_store_unchanged(runtime):
        responses = ada.get(consent_url), ada.http.post(consent_url, data={"decision": "deny"})

    assert [(response.status_code, response.location) for response in responses] == [(400, None)] * 2


def test_a_consent_that_is_revoked_after_it_was_read_gives_no_code(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.obtain_code()
    read_before = consents.find(runtime.store, "ada", ada.client.client_id)
    ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")
    monkeypatch.setattr(consents, "find", lambda *_: read_before)

    assert read_before is not None
    assert "/oauth/consent/" in ada.authorize().location


def test_consent_requires_a_user_who_is_signed_in(ada: Browser, app: Flask, runtime: Runtime) -> None:
    signed_out = Browser(app.test_client(), ada.client)
    consent_url = signed_out.authorize().location
    with assert_store_unchanged(runtime):
        page = signed_out.get(consent_url)
        submitted = signed_out.http.post(consent_url, data={"decision": "allow", "scope": "profile"})

    assert "/account/sign-in?next=" in page.location
    assert submitted.status_code == 303
    assert "/account/sign-in" in submitted.location


def test_the_sign_up_page_leads_back_to_consent(app: Flask, ada: Browser) -> None:
    browser = Browser(app.test_client(), ada.client)
    consent_url = browser.authorize().location
    to_sign_in = browser.get(consent_url)

    signed_up = browser.sign_up(email="new@example.org", next=redirect_parameters(to_sign_in)["next"])

    assert signed_up.location == consent_url
    assert "Shop" in browser.get(to_sign_in.location).text


@pytest.mark.parametrize("decision", ["", "maybe", "ALLOW"])
def test_a_decision_other_than_allow_and_deny_is_refused(ada: Browser, runtime: Runtime, decision: str) -> None:
    consent_url = ada.authorize().location
    with assert_store_unchanged(runtime):
        assert ada.decide(consent_url, decision).status_code == 400


def test_allow_without_a_scope_is_refused(ada: Browser, runtime: Runtime) -> None:
    consent_url = ada.authorize().location
    with assert_store_unchanged(runtime):
        assert ada.approve(consent_url, scope=()).status_code == 400


def test_the_consent_page_describes_the_scopes_and_names_the_redirect_host(ada: Browser) -> None:
    page = ada.get(ada.authorize(scope="profile notes:write").location).text

    assert "See your name and picture" in page and "Write notes" in page
    assert "shop.example" in page
    assert EMAIL in page
    assert "Did you start this yourself?" not in page


def test_a_loopback_redirect_is_warned_about(ada: Browser, register: Register) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://localhost/cb"]))

    page = native.get(native.authorize(redirect_uri="http://localhost:4000/cb").location).text

    assert "Did you start this yourself?" in page


def test_a_redirect_to_this_server_on_loopback_has_no_warning(ada: Browser, register: Register) -> None:
    """The Authorize button of the API reference, in development on loopback."""
    docs = Browser(ada.http, register("browser", redirect_uris=[f"{ISSUER}/docs/authorized"]))

    page = docs.get(docs.authorize(redirect_uri=f"{ISSUER}/docs/authorized").location).text

    assert "Did you start this yourself?" not in page


def test_for_a_user_without_name_and_address_no_empty_name_is_shown(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: "17", sign_in_url="/login")
    browser = Browser(
        app.test_client(),
        register_client(
            app.extensions["valetkey"],
            app.extensions["valetkey"].clock(),
            name="Shop",
            policy="web",
            redirect_uris=[CALLBACK],
        ),
    )

    page = browser.get(browser.authorize().location).text

    assert "This app requests" in page
    assert "Signed in as" not in page
    assert "monogram" not in browser.get("/account").text


def test_a_scope_that_was_not_granted_is_requested_again(ada: Browser) -> None:
    ada.approve(ada.authorize(scope="notes:read profile").location, scope=("profile",))

    assert "code" in redirect_parameters(ada.authorize(scope="profile"))
    assert "/consent/" in ada.authorize(scope="notes:read profile").location


def test_the_second_consent_page_has_only_the_new_scopes(ada: Browser) -> None:
    ada.obtain_code(scope=("profile",))
    consent_url = ada.authorize(scope="notes:read notes:write profile").location

    [form] = [form for form in parse_forms(ada.get(consent_url).text) if "allow" in form.buttons]

    assert [value for name, value in form.choices if name == "scope"] == ["notes:write", "notes:read"]
    hidden = [value for name, value in form.fields if name == "scope"]
    approved = ada.approve(consent_url, scope=("notes:read", *hidden))
    assert ada.redeem(redirect_parameters(approved)["code"]).json["scope"] == "notes:read profile"


def test_the_consent_page_has_all_scopes_for_prompt_consent_and_for_loopback_redirects(
    ada: Browser, register: Register
) -> None:
    loopback = "http://127.0.0.1/back"
    native = Browser(ada.http, register("native", redirect_uris=[loopback]))
    for app, uri, prompt in ((ada, CALLBACK, "consent"), (native, loopback, None)):
        app.approve(app.authorize(redirect_uri=uri).location)
        page = app.get(app.authorize(redirect_uri=uri, scope="notes:read profile", prompt=prompt).location).text
        assert 'id="scope-profile"' in page and 'id="scope-notes:read"' in page


def test_revoking_a_connected_app_revokes_its_tokens_and_consent(ada: Browser, runtime: Runtime) -> None:
    tokens = ada.obtain_tokens()
    ada.call(tokens["access_token"])
    runtime.usage.flush()
    page = ada.get("/account").text
    assert "Shop" in page and "See your name and picture" in page
    assert f'id="revoke-{ada.client.client_id}"' in page

    revoked = ada.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    assert revoked.status_code == 303
    assert ada.call(tokens["access_token"]).status_code == 401
    assert ada.refresh(tokens["refresh_token"]).status_code == 400
    assert f'id="revoke-{ada.client.client_id}"' not in ada.get("/account").text
    assert "/consent/" in ada.authorize().location


def test_a_user_cannot_revoke_the_app_of_another(ada: Browser, app: Flask, runtime: Runtime) -> None:
    token = ada.obtain_tokens()["access_token"]
    eve = sign_in_new_account(Browser(app.test_client(), ada.client), runtime, "eve@example.org", "Eve")

    eve.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    assert ada.call(token).status_code == 200


@pytest.mark.parametrize("client_id", ["", "unknown", "%00", "x" * 5000, "%ff"])
def test_revoking_an_unknown_client_id_is_no_server_error(ada: Browser, client_id: str) -> None:
    revoked = ada.submit(f"/account/revoke?client_id={client_id}", {}, page_path="/account")

    assert revoked.status_code in {303, 400}


def test_the_paths_of_endpoints_and_pages_can_be_changed(make_app: MakeApp, sqlite_store_url: str) -> None:
    http = make_app(sqlite_store_url, oauth_path="/auth", account_path="/me").test_client()

    metadata = http.get("/.well-known/oauth-authorization-server").json
    assert metadata["token_endpoint"].endswith("/auth/token")
    assert http.get("/me/sign-in").status_code == 200
    assert http.get("/account/sign-in").status_code == 404


@pytest.mark.parametrize("sub", [None, ""])
def test_no_user_is_signed_in_if_the_resource_owner_function_returns_no_sub(
    make_app: MakeApp, sqlite_store_url: str, sub: str | None
) -> None:
    app = make_app(sqlite_store_url, resource_owner=lambda: sub, sign_in_url="/login")

    assert app.test_client().get("/account").location == "/login?next=%2Faccount"
