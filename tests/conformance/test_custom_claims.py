"""Claims of the setting ``scope_claims``, and claims in the ID token of clients for which the operator chose that."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conformance.registration import call_configuration_endpoint
from tests.conformance.relying_party import RelyingParty, create_accounts, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.claims import PROTOCOL_CLAIMS
from valetkey.protocol.resource_owner import Owner
from valetkey.settings import Settings, SettingsError
from valetkey.storage.clients import find

SCOPES = {"notes:read": "Read your notes", "groups": "See your groups"}
SCOPE_CLAIMS = {"groups": ["groups", "https://example.org/role"], "profile": ["staff"]}
IDENTITY = ("name", "email", "groups", "https://example.org/role", "staff")


class Host:
    """Users of a host app whose claims contain everything, also claims of the protocol."""

    def current(self) -> Owner | None:
        return Owner("ada", auth_time=1.0)

    def sign_in_url(self, next: str, **_: Any) -> str:
        return "/login"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        custom = {"groups": ["admins", "staff"], "https://example.org/role": {"level": 3}, "staff": True}
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
