"""Metadata (RFC 8414), client credentials (RFC 6749 §4.4), resources (RFC 8707), opaque tokens and policies."""

from __future__ import annotations

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, ISSUER, SCOPES, Browser, redirect_parameters
from tests.support.clock import Clock
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.token.endpoint import GRANT_TYPES
from valetkey.protocol.secret import ACCESS_TOKEN, generate_secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.storage import resources
from valetkey.storage.engine.transaction import Transaction

OTHER_RESOURCE = "https://other.example/api"


@pytest.fixture
def machine(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


def upsert_resource(runtime: Runtime, url: str, **metadata: object) -> None:
    runtime.store.write(Transaction(rows=(resources.upsert(url, metadata, runtime.clock()),)))
    runtime.resources.invalidate()


def test_metadata_names_what_is_supported(machine: Browser) -> None:
    response = machine.get("/.well-known/oauth-authorization-server")

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.json["issuer"] == ISSUER
    assert response.json["response_types_supported"] == ["code"]
    assert {"authorization_code", "client_credentials", "refresh_token"} <= set(response.json["grant_types_supported"])
    assert set(response.json["grant_types_supported"]) == set(GRANT_TYPES)
    assert response.json["code_challenge_methods_supported"] == ["S256"]
    assert response.json["authorization_response_iss_parameter_supported"] is True
    assert set(SCOPES) <= set(response.json["scopes_supported"])
    assert "none" not in response.json["introspection_endpoint_auth_methods_supported"]


def test_the_metadata_omits_what_a_function_as_resource_owner_cannot_report(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    http = make_app(sqlite_store_url, resource_owner=lambda: None).test_client()

    metadata = http.get("/.well-known/openid-configuration").json

    assert "acr_values_supported" not in metadata
    assert metadata["prompt_values_supported"] == ["none", "consent"]
    assert metadata["claims_supported"] == ["sub"]
    assert metadata["backchannel_logout_session_supported"] is False
    assert "acr_values_supported" not in http.get("/.well-known/oauth-authorization-server").json


def test_authlib_accepts_the_metadata(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://id.example/tenant")

    metadata = app.test_client().get("/.well-known/oauth-authorization-server/tenant").json

    AuthorizationServerMetadata(metadata).validate()
    assert metadata["issuer"] == "https://id.example/tenant"


def test_every_endpoint_in_the_metadata_exists(machine: Browser) -> None:
    metadata = machine.get("/.well-known/oauth-authorization-server").json

    for name, url in metadata.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            path = url.removeprefix(ISSUER)
            statuses = {machine.http.get(path).status_code, machine.http.post(path).status_code}
            assert 404 not in statuses, name


def test_the_jwk_set_contains_only_public_keys(machine: Browser) -> None:
    keys = machine.get("/oauth/jwks").json["keys"]

    assert {key["alg"] for key in keys} == {"ES256", "RS256"}
    assert not [key for key in keys if {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()]
    assert all({"kid", "use", "kty"} <= key.keys() for key in keys)


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/oauth/jwks"])
def test_metadata_documents_are_read_only(machine: Browser, path: str) -> None:
    assert machine.http.post(path, data={"a": "b"}).status_code == 405
    assert machine.http.head(path).status_code == 200


def test_a_machine_gets_a_token_and_no_refresh_token(machine: Browser) -> None:
    response = machine.request_token("client_credentials", scope="profile")

    assert response.status_code == 200
    assert "refresh_token" not in response.json
    assert response.json["scope"] == "profile"
    assert machine.call(response.json["access_token"]).json == {"user": None, "client": machine.client.client_id}


def test_a_machine_gets_only_its_registered_scope(app: Flask, register: Register) -> None:
    reader = Browser(app.test_client(), register("machine", scope="notes:read"))

    assert reader.request_token("client_credentials").json["scope"] == "notes:read"
    assert reader.request_token("client_credentials", scope="profile").json["error"] == "invalid_scope"


def test_a_web_client_may_register_client_credentials(ada: Browser, register: Register) -> None:
    client = Browser(ada.http, register(grant_types=["authorization_code", "client_credentials"]))

    assert client.request_token("client_credentials").status_code == 200
    assert ada.request_token("client_credentials").json["error"] == "unauthorized_client"
    assert "refresh_token" not in client.obtain_tokens()


@pytest.mark.parametrize(
    ("policy", "changes", "expected_text"),
    [
        ("unknown", {}, "there is no policy"),
        ("web", {"redirect_uris": []}, "at least one redirect URI"),
        ("web", {"redirect_uris": ["http://shop.example/"]}, "use https"),
        ("web", {"redirect_uris": ["com.example.app:/cb"]}, "not https"),
        ("browser", {"grant_types": ["client_credentials"]}, "does not allow the grant type"),
        ("machine", {"grant_types": ["refresh_token"]}, "does not allow the grant type"),
        ("web", {"grant_types": ["password"]}, "does not allow the grant type"),
        ("web", {"scope": "root"}, "unknown scope: root"),
        ("web", {"scope": 'a"b'}, r"contains U\+0022"),
    ],
)
def test_a_client_that_violates_its_policy_is_not_registered(
    register: Register, policy: str, changes: dict[str, object], expected_text: str
) -> None:
    with pytest.raises(RegistrationRefused, match=expected_text):
        register(policy, **changes)


def test_all_problems_of_a_registration_are_reported_together(register: Register) -> None:
    with pytest.raises(RegistrationRefused) as refused:
        register("web", name=" ", redirect_uris=["http://a.example", "javascript:x"], scope="root")

    assert len(str(refused.value).splitlines()) == 4


def test_a_client_id_is_unique(runtime: Runtime, register: Register) -> None:
    register("machine", client_id="same")

    with pytest.raises(RegistrationRefused, match="already"):
        register("machine", client_id="same")


def test_a_token_is_opaque_if_its_resource_says_so(ada: Browser, machine: Browser, runtime: Runtime) -> None:
    upsert_resource(runtime, ISSUER, token_format="opaque")

    tokens = ada.obtain_tokens()

    token = tokens["access_token"]
    assert is_well_formed(token, ACCESS_TOKEN)
    assert ada.call(token).status_code == 200
    assert machine.introspect(token).json["active"] is True
    ada.revoke(token)
    assert ada.call(token).status_code == 401
    assert machine.introspect(token).json == {"active": False}
    assert ada.refresh(tokens["refresh_token"]).status_code == 400


def test_an_opaque_token_that_was_not_issued_is_refused(ada: Browser) -> None:
    assert ada.call(generate_secret(ACCESS_TOKEN).reveal()).status_code == 401


def test_an_opaque_token_expires(machine: Browser, runtime: Runtime, clock: Clock) -> None:
    upsert_resource(runtime, ISSUER, token_format="opaque")
    token = machine.request_token("client_credentials").json["access_token"]
    assert count_rows(runtime.store, "valetkey_access_tokens") == 1
    clock.forward(seconds=900)

    assert machine.call(token).status_code == 401
    assert machine.introspect(token).json == {"active": False}


def test_the_audience_of_a_token_is_the_requested_resource(ada: Browser, machine: Browser, runtime: Runtime) -> None:
    upsert_resource(runtime, OTHER_RESOURCE, scopes_supported=["notes:read"])
    tokens = ada.obtain_tokens(scope=("notes:read",), resource=OTHER_RESOURCE)

    assert ada.introspect(tokens["access_token"]).json["aud"] == OTHER_RESOURCE
    assert tokens["scope"] == "notes:read"


def test_a_token_request_can_narrow_resources_but_not_widen_them(ada: Browser, runtime: Runtime) -> None:
    """RFC 8707 §2.2."""
    upsert_resource(runtime, OTHER_RESOURCE)
    query = [*ada.authorization_parameters().items(), ("resource", ISSUER), ("resource", OTHER_RESOURCE)]
    redirect = ada.get("/oauth/authorize", query_string=query)
    code = redirect_parameters(ada.approve(redirect.location))["code"]
    tokens = ada.redeem(code, resource=OTHER_RESOURCE).json

    assert ada.introspect(tokens["access_token"]).json["aud"] == OTHER_RESOURCE
    refreshed = ada.refresh(tokens["refresh_token"], resource=ISSUER).json
    assert ada.introspect(refreshed["access_token"]).json["aud"] == ISSUER
    narrowed_tokens = ada.obtain_tokens(resource=ISSUER)
    assert ada.refresh(narrowed_tokens["refresh_token"], resource=OTHER_RESOURCE).json["error"] == "invalid_target"
    assert ada.redeem(ada.obtain_code(resource=ISSUER), resource=OTHER_RESOURCE).json["error"] == "invalid_target"


def test_a_token_has_no_scope_that_its_resource_does_not_support(
    ada: Browser, runtime: Runtime, machine: Browser
) -> None:
    upsert_resource(runtime, OTHER_RESOURCE, scopes_supported=["notes:read"])

    response = machine.request_token("client_credentials", scope="notes:read notes:write", resource=OTHER_RESOURCE)

    assert response.json["scope"] == "notes:read"


def test_the_default_resource_of_a_client_is_used_if_none_is_requested(app: Flask, runtime: Runtime) -> None:
    upsert_resource(runtime, OTHER_RESOURCE)
    created = register_client(
        runtime, runtime.clock(), name="R", policy="machine", members={"default_resource": OTHER_RESOURCE}
    )
    client = Browser(app.test_client(), created)

    token = client.request_token("client_credentials").json["access_token"]

    assert client.introspect(token).json["aud"] == OTHER_RESOURCE


def test_a_grant_for_a_resource_that_no_longer_exists_is_refused(
    ada: Browser, make_app: MakeApp, store_url: str, machine: Browser, runtime: Runtime
) -> None:
    code, tokens = ada.obtain_code(), ada.obtain_tokens()
    renamed = make_app(store_url, issuer="http://127.0.0.1:9000").test_client()
    renamed_shop, renamed_machine = Browser(renamed, ada.client), Browser(renamed, machine.client)
    with assert_store_unchanged(runtime):
        check_refusal(renamed_shop.redeem(code), "invalid_grant")
        check_refusal(renamed_shop.refresh(tokens["refresh_token"]), "invalid_grant")

    assert renamed_machine.request_token("client_credentials").status_code == 200
    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_a_default_resource_that_does_not_exist_is_refused(app: Flask, runtime: Runtime) -> None:
    client = register_client(
        runtime, runtime.clock(), name="R", policy="machine", members={"default_resource": OTHER_RESOURCE}
    )

    check_refusal(Browser(app.test_client(), client).request_token("client_credentials"), "invalid_target")


def test_a_scope_that_the_publisher_removed_is_not_issued(make_app: MakeApp, store_url: str, machine: Browser) -> None:
    server = Browser(make_app(store_url, scopes={"notes:read": "Read your notes"}).test_client(), machine.client)

    assert server.request_token("client_credentials").json["scope"] == "notes:read"


def test_unsupported_features_are_not_in_the_metadata(ada: Browser) -> None:
    metadata = ada.get("/.well-known/oauth-authorization-server").json

    assert not {"implicit", "password"} & set(metadata["grant_types_supported"])
    assert "token" not in metadata["response_types_supported"]
    assert "plain" not in metadata["code_challenge_methods_supported"]
    assert CALLBACK not in str(metadata)


def test_a_program_that_names_no_scope_gets_only_scopes_of_the_api(runtime: Runtime, app: Flask) -> None:
    machine = Browser(app.test_client(), register_client(runtime, runtime.clock(), name="Robot", policy="machine"))

    assert machine.request_token("client_credentials").json["scope"] == "notes:read notes:write profile"
    assert machine.request_token("client_credentials", scope="email").json["scope"] == "email"
