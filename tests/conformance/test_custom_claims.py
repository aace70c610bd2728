"""Claims of the setting ``scope_claims``, and claims in the ID token of clients for which the operator chose that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.conformance.registration import call_configuration_endpoint
from tests.conformance.relying_party import RelyingParty, create_accounts, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, redirect_parameters
from valetkey.authorization_server.authorize.consent import INDIVIDUAL_CLAIMS
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.protocol.claims import PROTOCOL_CLAIMS
from valetkey.protocol.resource_owner import Owner
from valetkey.settings import Settings, SettingsError
from valetkey.storage.clients import find
from valetkey.storage.engine.statement import Statement
from valetkey.storage.tables import grants

SCOPES = {"notes:read": "Read your notes", "groups": "See your groups"}
SCOPE_CLAIMS = {"groups": ["groups", "https://example.org/role"], "profile": ["staff"]}
IDENTITY = ("name", "email", "groups", "https://example.org/role", "staff")

REQUEST_FOR_ALL = json.dumps(
    {
        place: dict.fromkeys(["groups", "staff", "salary", "https://example.org/role"])
        for place in ("userinfo", "id_token")
    }
)


class Host:
    """Users of a host app whose claims contain everything, also claims of the protocol."""

    def current(self) -> Owner | None:
        return Owner("ada", auth_time=1.0)

    def sign_in_url(self, next: str, **_: Any) -> str:
        return "/login"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        custom = {"salary": 1, "groups": ["admins", "staff"], "https://example.org/role": {"level": 3}, "staff": True}
        return {**dict.fromkeys(PROTOCOL_CLAIMS, "forged"), "name": "Ada", "email": "ada@example.org", **custom}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, resource_owner=Host(), scopes=SCOPES, scope_claims=SCOPE_CLAIMS)


def make_party(app: Flask, **members: Any) -> RelyingParty:
    runtime = app.extensions["valetkey"]
    client = register_client(
        runtime, runtime.clock(), name="Dashboard", policy="web", redirect_uris=[CALLBACK], members=members
    )
    return RelyingParty(app.test_client(), client, runtime)


def test_by_default_only_userinfo_has_the_claims_of_the_granted_scopes(app: Flask) -> None:
    party = make_party(app)

    tokens = party.obtain_tokens(scope="openid profile groups")

    assert not set(IDENTITY) & party.decode_jwt(tokens["id_token"]).keys()
    claims = party.call_userinfo(tokens["access_token"]).json
    assert {name for name in IDENTITY if name in claims} == {"name", "groups", "https://example.org/role", "staff"}


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid", set()),
        ("openid email", {"email"}),
        ("openid groups", {"groups", "https://example.org/role"}),
        ("openid profile email", {"name", "staff", "email"}),
    ],
)
def test_the_operator_puts_the_claims_of_granted_scopes_into_the_id_token(
    app: Flask, scope: str, names: set[str]
) -> None:
    party = make_party(app, claims_in_id_token=True)

    tokens = party.obtain_tokens(scope=scope)
    id_tokens = [tokens["id_token"], party.refresh(tokens["refresh_token"]).json["id_token"]]

    for claims in map(party.decode_jwt, id_tokens):
        assert {name for name in IDENTITY if name in claims} == names


def test_a_standard_claim_that_a_granted_scope_includes_needs_no_checkbox_of_its_own(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    """The consent to the scope covers it, so that the same request needs no prompt the next time."""
    party = make_party(
        make_app(sqlite_store_url, resource_owner=Host(), scopes=SCOPES, scope_claims={"groups": ["groups", "email"]})
    )
    request = {"scope": "openid groups", "claims": json.dumps({"userinfo": {"email": None}})}

    page = party.get(party.authorize(**request).location).text
    tokens = party.obtain_tokens(**request)
    silent = party.authorize(**request, prompt="none")

    assert INDIVIDUAL_CLAIMS not in page
    assert party.call_userinfo(tokens["access_token"]).json["email"] == "ada@example.org"
    assert "code" in redirect_parameters(silent)


def test_no_claim_of_a_host_overrides_a_claim_of_the_protocol(app: Flask) -> None:
    party = make_party(app, claims_in_id_token=True)

    tokens = party.obtain_tokens(scope="openid profile email groups")

    userinfo = party.call_userinfo(tokens["access_token"]).json
    assert "forged" not in {str(value) for value in party.decode_jwt(tokens["id_token"]).values()}
    assert "forged" not in {str(value) for value in userinfo.values()}


@pytest.mark.parametrize("name", sorted(PROTOCOL_CLAIMS))
def test_a_scope_cannot_include_a_claim_of_the_protocol(name: str) -> None:
    with pytest.raises(SettingsError, match=f"scope_claims: '{name}' is a claim of the protocol"):
        Settings(scopes={"groups": "See your groups"}, scope_claims={"groups": [name]})


@pytest.mark.parametrize(
    ("scope_claims", "problem"),
    [
        ({"group": ["groups"]}, "'group' is not in scopes"),
        ({"groups": "groups"}, "needs a list of claim names"),
        ({"groups": [""]}, "needs a list of claim names"),
        ({"groups": [1]}, "needs a list of claim names"),
        (["groups"], "must map each scope"),
    ],
)
def test_invalid_scope_claims_are_refused(scope_claims: Any, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Settings(scopes={"groups": "See your groups"}, scope_claims=scope_claims)


def test_an_account_has_custom_claims(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, scopes=SCOPES, scope_claims=SCOPE_CLAIMS)
    create_accounts(app, groups=["admins"])
    party = register_relying_party(app, members={"claims_in_id_token": True})
    party.sign_in_as("ada")

    assert party.obtain_id_token_claims(scope="openid groups")["groups"] == ["admins"]


def test_a_claim_that_is_no_json_value_is_left_out(make_app: MakeApp, store_url: str, caplog: Any) -> None:
    class HostWithObjects(Host):
        def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
            return {"groups": {1, 2}, "staff": float("nan"), "name": "Ada"}

    app = make_app(store_url, resource_owner=HostWithObjects(), scopes=SCOPES, scope_claims=SCOPE_CLAIMS)
    party = make_party(app, claims_in_id_token=True)

    claims = party.obtain_id_token_claims(scope="openid profile groups")

    assert claims["name"] == "Ada"
    assert not {"groups", "staff"} & claims.keys()
    assert "the claim groups is no JSON value, and is left out" in caplog.text


def test_a_client_cannot_choose_what_only_the_operator_chooses(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, registration_policy="open")
    http, runtime = app.test_client(), app.extensions["valetkey"]
    chosen = {"claims_in_id_token": True, "introspection": "any"}
    sent = {"redirect_uris": [CALLBACK], "client_name": "Dashboard", **chosen}

    registered = http.post("/oauth/register", json=sent).json
    assert not chosen.keys() & registered.keys()
    client_id = registered["client_id"]
    replaced = call_configuration_endpoint(http, registered, "PUT", json={**sent, "client_id": client_id})
    assert replaced.status_code == 200, replaced.text
    client = find(runtime.store, client_id, runtime.clock())
    assert client
    assert not chosen.keys() & client.metadata.keys()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"claims_in_id_token": "yes"}, "claims_in_id_token must be true or false"),
        ({"introspection": "all"}, "introspection must be one of own, resource, any"),
        ({"introspection": "resource"}, "no resource is named"),
        ({"introspection_resources": ["https://api.example.com"]}, "introspection is own, but"),
        ({"introspection": "resource", "introspection_resources": ["api"]}, "introspection_resources 'api'"),
        ({"introspection": "resource", "introspection_resources": "api"}, "must be an array"),
    ],
)
def test_invalid_choices_of_the_operator_are_refused(app: Flask, members: dict[str, Any], problem: str) -> None:
    with pytest.raises(RegistrationRefused, match=problem):
        make_party(app, **members)


def obtain_claims(party: RelyingParty, **changes: Any) -> list[dict[str, Any]]:
    """Obtain tokens with this authorization request, and return the claims of userinfo and of the ID token."""
    tokens = party.obtain_tokens(**changes)
    return [dict(party.call_userinfo(tokens["access_token"]).json or {}), party.decode_jwt(tokens["id_token"])]


@pytest.mark.parametrize("prompt", [None, "none", "consent"])
def test_a_claim_of_a_scope_that_was_not_granted_is_not_disclosed_if_it_is_requested_one_by_one(
    app: Flask, prompt: str | None
) -> None:
    """The consent page shows claims by scope, and one by one only standard claims."""
    party = make_party(app)
    party.obtain_tokens(scope="openid")

    for claims in obtain_claims(party, scope="openid", claims=REQUEST_FOR_ALL, prompt=prompt):
        assert not {"groups", "staff", "salary", "https://example.org/role"} & claims.keys()
    assert set(party.runtime.store.fetch_all(Statement(select(grants.c.claims))())) == {(None,)}


@pytest.mark.parametrize("prompt", [None, "none", "consent"])
def test_the_id_token_has_a_custom_claim_of_a_granted_scope_that_is_requested_for_it(
    app: Flask, prompt: str | None
) -> None:
    party = make_party(app)
    party.obtain_tokens(scope="openid groups")

    userinfo, id_token = obtain_claims(party, scope="openid groups", claims=REQUEST_FOR_ALL, prompt=prompt)

    assert {"groups", "https://example.org/role"} <= userinfo.keys() & id_token.keys()
    assert not {"staff", "salary"} & (userinfo.keys() | id_token.keys())


def test_a_grant_that_stores_other_claims_does_not_disclose_them(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier versions stored each claim that was requested."""
    party = make_party(app)
    monkeypatch.setattr("valetkey.settings.Settings.claims_of", lambda *_: frozenset({"groups", "staff", "salary"}))
    tokens = party.obtain_tokens(scope="openid", claims=REQUEST_FOR_ALL)
    monkeypatch.undo()

    refreshed = party.refresh(tokens["refresh_token"]).json
    userinfo = party.call_userinfo(refreshed["access_token"]).json

    assert not {"groups", "staff", "salary"} & (userinfo.keys() | party.decode_jwt(refreshed["id_token"]).keys())


@pytest.mark.parametrize(("scope", "names"), [("openid email", {"email"}), ("email groups", None)])
def test_an_id_token_has_no_claim_of_a_scope_that_the_registration_has_lost(
    app: Flask, scope: str, names: set[str] | None
) -> None:
    """Userinfo refuses them, too: the access token lacks the scope."""
    party = make_party(app, claims_in_id_token=True)
    runtime, tokens = party.runtime, party.obtain_tokens(scope="openid email groups")
    client = find(runtime.store, party.client.client_id, runtime.clock())
    assert client
    update = check_update(runtime.settings, client, {"scope": scope}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=False)

    refreshed = party.refresh(tokens["refresh_token"]).json

    if names is None:
        assert "id_token" not in refreshed
    else:
        assert {name for name in IDENTITY if name in party.decode_jwt(refreshed["id_token"])} == names
