"""An id in a form or request never names an object of another user or client, neither to create one nor to end it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask, session

from tests.conformance.relying_party import register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import Browser, find_secrets, sign_in_new_account
from tests.support.personal_tokens import create_token, value_of
from tests.support.store_assertions import assert_store_unchanged
from valetkey import Owner
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.access_token import AccessToken
from valetkey.runtime import Runtime
from valetkey.storage import active_grants, personal_access_tokens

NEW_TOKEN, TOKENS = "/account/tokens/new", "/account/tokens"
# Each variable part of a path that is an id, and how it is bound to the caller; a test below shows each.
IDS_IN_PATHS = {
    "interaction_id": "random secret, bound to the browser and for devices to the user",
    "token_id": "found together with the user of the access token",
    "secret": "random secret in a mail",
}
# Form fields and query parameters that name an object of the store.
IDS_IN_REQUESTS = {
    "submission": "only digested, together with the user",
    "token_id": "found together with the signed-in user",
    "client_id": "a client is public; consents and grants are found together with the signed-in user",
    "user_code": "random, limited by user and network",
}
OTHER_FIELDS = {
    *(
        "name",
        "email",
        "password",
        "current",
        "new",
        "next",
        "expires_in",
        "expires_on",
        "csrf_token",
        "scope",
        "decision",
    ),
}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    settings = {"registration_policy": "open", "personal_access_token_api_scope": "tokens:manage"}
    scopes = {"profile": "See your name and picture", "tokens:manage": "Manage your tokens"}
    return make_app(store_url, scopes=scopes, mail_url="smtp://127.0.0.1:1", **settings)


@pytest.fixture
def eve(app: Flask, runtime: Runtime, shop: CreatedClient) -> Browser:
    """The browser of another user, who is signed in."""
    return sign_in_new_account(Browser(app.test_client(), shop), runtime, "eve@example.org", "Eve")


def submit_new_token_form(browser: Browser, **changes: Any) -> Any:
    page = browser.get(NEW_TOKEN).text
    fields = dict(re.findall(r'name="(csrf_token|submission)"[^>]*value="([^"]+)"', page))
    data = {"name": "Backup", "scope": ["profile"], "expires_in": "30", **fields, **changes}
    return browser.http.post(NEW_TOKEN, data=data)


def list_tokens(runtime: Runtime, owner: str) -> list[personal_access_tokens.PersonalToken]:
    return personal_access_tokens.list_by_owner(runtime.store, owner)


def verify(runtime: Runtime, value: str) -> AccessToken:
    return runtime.verifier.verify(value, runtime.clock())


def ids_of(ada: Browser, app: Flask, runtime: Runtime) -> Iterator[tuple[str, str]]:
    """Yield tokens of Ada that are valid, each with its id: an access token and a personal access token."""
    access_token = ada.obtain_tokens()["access_token"]
    yield access_token, verify(runtime, access_token).jti
    personal_token = create_token(app)
    yield value_of(personal_token), personal_token.token.token_id


def test_every_variable_part_of_a_path_is_bound_to_its_caller(app: Flask) -> None:
    variables = {
        argument
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("valetkey") and "static" not in rule.endpoint
        for argument in rule.arguments
    }

    no_ids = {"path", "provider_id"}  # the URL of a resource, the name of a provider in the settings
    assert variables - no_ids == IDS_IN_PATHS.keys()


def test_every_field_of_a_form_is_no_id_or_bound_to_its_caller(app: Flask) -> None:
    from valetkey.resource_owner import forms

    with app.test_request_context():
        fields = {
            field.name
            for form in vars(forms).values()
            if isinstance(form, type) and issubclass(form, forms.PageForm) and form is not forms.PageForm
            for field in form()
        }

    assert fields - OTHER_FIELDS - IDS_IN_REQUESTS.keys() == set()


@pytest.mark.parametrize("field", ["submission", "token_id", "id", "jti"])
def test_a_personal_token_cannot_be_created_with_the_id_of_another_users_token(
    app: Flask, ada: Browser, eve: Browser, runtime: Runtime, field: str
) -> None:
    """If it could, revoking the new token would revoke the other one, which has the same id in the change feed."""
    for value, token_id in list(ids_of(ada, app, runtime)):
        assert submit_new_token_form(eve, **{field: token_id}).status_code == 200
        (created,) = [token for token in list_tokens(runtime, "eve") if token.revoked_at is None]
        assert created.token_id != token_id

        eve.submit(f"{TOKENS}/revoke?token_id={created.token_id}", {}, page_path=TOKENS)

        assert [token for token in list_tokens(runtime, "eve") if token.revoked_at is None] == []
        assert ada.call(value).status_code == 200


def test_two_users_who_submit_the_same_form_get_different_tokens(ada: Browser, eve: Browser, runtime: Runtime) -> None:
    for browser in (ada, eve):
        assert len(find_secrets(submit_new_token_form(browser, submission="a" * 22).text)) == 1
    assert find_secrets(submit_new_token_form(ada, submission="a" * 22).text) == [], "the same form, sent again"

    (of_ada,), (of_eve,) = list_tokens(runtime, "ada"), list_tokens(runtime, "eve")
    assert of_ada.token_id != of_eve.token_id
    assert "a" * 22 not in {of_ada.token_id, of_eve.token_id}


def test_a_user_cannot_revoke_another_users_token_or_grant_by_its_id(
    app: Flask, ada: Browser, eve: Browser, runtime: Runtime
) -> None:
    tokens = dict(ids_of(ada, app, runtime))
    grant_ids = {verify(runtime, value).grant_id or "" for value in tokens}
    with assert_store_unchanged(runtime):
        for token_id in (*tokens.values(), *grant_ids, ada.client.client_id, "", "%00", "x" * 5000):
            eve.submit(f"{TOKENS}/revoke?token_id={token_id}", {}, page_path=TOKENS)
            eve.submit(f"/account/revoke?client_id={token_id}", {}, page_path="/account")

    assert [ada.call(value).status_code for value in tokens] == [200, 200]


def test_an_app_cannot_create_or_delete_a_token_with_another_users_id(
    app: Flask, ada: Browser, eve: Browser, runtime: Runtime
) -> None:
    others = list(ids_of(ada, app, runtime))
    header = {"Authorization": f"Bearer {eve.obtain_tokens(scope=('profile', 'tokens:manage'))['access_token']}"}
    for value, token_id in others:
        members = {"id": token_id, "token_id": token_id, "jti": token_id, "owner": "ada", "user_id": "ada"}
        request = {"name": "Backup", "scope": "profile", "expires_in": 3600, **members}
        created = eve.http.post("/oauth/personal-tokens", json=request, headers=header)
        assert created.status_code == 201
        assert created.json["id"] != token_id
        assert verify(runtime, created.json["token"]).user_id == "eve"
        assert eve.http.delete(f"/oauth/personal-tokens/{token_id}", headers=header).status_code == 404
        assert ada.call(value).status_code == 200


def test_a_user_ends_only_the_own_access_of_an_app(ada: Browser, eve: Browser) -> None:
    token, own_token = ada.obtain_tokens()["access_token"], eve.obtain_tokens()["access_token"]

    eve.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    assert (ada.call(token).status_code, ada.call(own_token).status_code) == (200, 401)


def test_a_pending_request_can_be_decided_only_in_its_browser(ada: Browser, eve: Browser, runtime: Runtime) -> None:
    consent_path = ada.authorize().location
    assert "/consent/" in consent_path
    page = eve.get("/account").text
    csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert csrf
    with assert_store_unchanged(runtime):
        assert eve.get(consent_path).status_code == 400
        data = {"csrf_token": csrf[1], "decision": "allow", "scope": ["profile"]}
        assert eve.http.post(consent_path, data=data).status_code == 400


def test_a_device_request_can_be_decided_only_by_the_user_who_entered_its_code(
    ada: Browser, eve: Browser, runtime: Runtime, register: Any
) -> None:
    device = register("native", grant_types=["urn:ietf:params:oauth:grant-type:device_code"])
    code = ada.http.post("/oauth/device", data={"client_id": device.client_id}).json["user_code"]
    consent_path = ada.submit("/device", {"user_code": code}).location
    csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', eve.get("/device").text)
    assert csrf
    with assert_store_unchanged(runtime):
        data = {"csrf_token": csrf[1], "decision": "allow", "scope": ["profile"]}
        assert eve.http.post(consent_path, data=data).status_code == 400


def test_a_client_that_registers_itself_cannot_choose_its_id(ada: Browser) -> None:
    metadata = {"redirect_uris": ["https://eve.example/back"], "client_name": "Eve"}
    chosen = {"client_id": ada.client.client_id, "registration_access_token": "x", "client_secret": "x"}

    created = ada.http.post("/oauth/register", json={**metadata, **chosen})

    assert created.status_code == 201
    assert created.json["client_id"] != ada.client.client_id
    assert created.json.get("client_secret") != "x"
    header = {"Authorization": f"Bearer {created.json['registration_access_token']}"}
    for method in ("GET", "PUT", "DELETE"):
        url = f"/oauth/register/client?client_id={ada.client.client_id}"
        response = ada.http.open(url, method=method, json={**metadata, **chosen}, headers=header)
        assert response.status_code == 401
    assert ada.obtain_tokens()["access_token"]


class HostAccounts:
    """A host's accounts that number the sessions of each user from 1."""

    def current(self) -> Owner | None:
        return Owner(session["sub"], auth_time=1.0, sid="1") if "sub" in session else None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return "/login"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        return {}

    def sign_out(self) -> None:
        session.clear()


def test_signing_out_ends_no_session_of_another_user_with_the_same_id(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, resource_owner=HostAccounts())
    app.secret_key = "of the test"
    logout_uri = {"backchannel_logout_uri": "https://shop.example/logout"}
    rp = register_relying_party(app, members=logout_uri)
    runtime: Runtime = app.extensions["valetkey"]
    for sub in ("ada", "eve"):
        with rp.http.session_transaction() as host_session:
            host_session["sub"] = sub
        rp.obtain_tokens()

    rp.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout")

    assert [len(active_grants.list_active(runtime.store, runtime.clock(), owner=sub)) for sub in ("ada", "eve")] == [
        1,
        0,
    ]
