"""What clients can find out (RFC 8414), machines (RFC 6749 §4.4), resources (RFC 8707), opaque tokens, policies."""

from __future__ import annotations

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Flask

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import MakeApp, Register
from tests.support.browser_client import (
    CALLBACK,
    ISSUER,
    SCOPES,
    Browser,
    Clock,
    assert_store_unchanged,
    count_rows,
    redirect_parameters,
)
from valetkey.authorization_server.clients.service import RegistrationRefused, register_client
from valetkey.authorization_server.token.endpoint import GRANT_TYPES
from valetkey.protocol.secret import ACCESS_TOKEN, generate_secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.storage import resources
from valetkey.storage.engine.transaction import Transaction

OTHER = "https://other.example/api"


@pytest.fixture
def robot(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="Robot"))


def put_resource(runtime: Runtime, url: str, **metadata: object) -> None:
    runtime.store.write(Transaction(rows=(resources.upsert(url, metadata, runtime.clock()),)))
    runtime.resources.invalidate()


def test_metadata_tells_what_works_and_nothing_else(robot: Browser) -> None:
    told = robot.get("/.well-known/oauth-authorization-server")

    assert told.status_code == 200
    assert told.headers["Access-Control-Allow-Origin"] == "*"
    assert told.json["issuer"] == ISSUER
    assert told.json["response_types_supported"] == ["code"]
    assert {"authorization_code", "client_credentials", "refresh_token"} <= set(told.json["grant_types_supported"])
    assert set(told.json["grant_types_supported"]) == set(GRANT_TYPES)
    assert told.json["code_challenge_methods_supported"] == ["S256"]
    assert told.json["authorization_response_iss_parameter_supported"] is True
    assert set(SCOPES) <= set(told.json["scopes_supported"])
    assert "none" not in told.json["introspection_endpoint_auth_methods_supported"]


def test_a_validator_that_we_did_not_write_is_content(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://id.example/tenant")

    told = app.test_client().get("/.well-known/oauth-authorization-server/tenant").json

    AuthorizationServerMetadata(told).validate()
    assert told["issuer"] == "https://id.example/tenant"


def test_every_endpoint_that_is_told_of_is_there(robot: Browser) -> None:
    told = robot.get("/.well-known/oauth-authorization-server").json

    for name, url in told.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            path = url.removeprefix(ISSUER)
            statuses = {robot.http.get(path).status_code, robot.http.post(path).status_code}
            assert 404 not in statuses, name


def test_the_keys_are_public_halves_only(robot: Browser) -> None:
    keys = robot.get("/oauth/jwks").json["keys"]

    assert {key["alg"] for key in keys} == {"ES256", "RS256"}
    assert not [key for key in keys if {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()]
    assert all({"kid", "use", "kty"} <= key.keys() for key in keys)


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/oauth/jwks"])
def test_documents_are_read_only(robot: Browser, path: str) -> None:
    assert robot.http.post(path, data={"a": "b"}).status_code == 405
    assert robot.http.head(path).status_code == 200


def test_a_machine_gets_a_token_and_no_refresh_token(robot: Browser) -> None:
    answer = robot.request_token("client_credentials", scope="profile")

    assert answer.status_code == 200
    assert "refresh_token" not in answer.json
    assert answer.json["scope"] == "profile"
    assert robot.call(answer.json["access_token"]).json == {"user": None, "client": robot.client.client_id}


def test_a_machine_asks_for_what_it_registered_only(app: Flask, register: Register) -> None:
    reader = Browser(app.test_client(), register("machine", scope="notes:read"))

    assert reader.request_token("client_credentials").json["scope"] == "notes:read"
    assert reader.request_token("client_credentials", scope="profile").json["error"] == "invalid_scope"


def test_a_web_app_may_be_allowed_client_credentials(ada: Browser, register: Register) -> None:
    both = Browser(ada.http, register(grant_types=["authorization_code", "client_credentials"]))

    assert both.request_token("client_credentials").status_code == 200
    assert ada.request_token("client_credentials").json["error"] == "unauthorized_client"
    assert "refresh_token" not in both.obtain_tokens()


@pytest.mark.parametrize(
    ("policy", "more", "said"),
    [
        ("nonsense", {}, "there is no policy"),
        ("web", {"redirect_uris": []}, "at least one redirect URI"),
        ("web", {"redirect_uris": ["http://shop.example/"]}, "use https"),
        ("web", {"redirect_uris": ["com.example.app:/cb"]}, "not https"),
        ("browser", {"grant_types": ["client_credentials"]}, "does not allow the grant type"),
        ("machine", {"grant_types": ["refresh_token"]}, "does not allow the grant type"),
        ("web", {"grant_types": ["password"]}, "does not allow the grant type"),
        ("web", {"scope": "root"}, "unknown scope: root"),
        ("web", {"scope": 'a"b'}, "space-separated"),
    ],
)
def test_a_client_that_its_policy_forbids_is_not_registered(
    register: Register, policy: str, more: dict[str, object], said: str
) -> None:
    with pytest.raises(RegistrationRefused, match=said):
        register(policy, **more)


def test_all_that_is_wrong_with_a_client_is_told_together(register: Register) -> None:
    with pytest.raises(RegistrationRefused) as refused:
        register("web", name=" ", redirect_uris=["http://a.example", "javascript:x"], scope="root")

    assert len(str(refused.value).splitlines()) == 4


def test_a_client_id_is_taken_once(runtime: Runtime, register: Register) -> None:
    register("machine", client_id="same")

    with pytest.raises(RegistrationRefused, match="already"):
        register("machine", client_id="same")


def test_a_token_is_opaque_where_its_resource_asks(ada: Browser, robot: Browser, runtime: Runtime) -> None:
    put_resource(runtime, ISSUER, token_format="opaque")

    answer = ada.obtain_tokens()

    token = answer["access_token"]
    assert is_well_formed(token, ACCESS_TOKEN)
    assert ada.call(token).status_code == 200
    assert robot.introspect(token).json["active"] is True
    ada.revoke(token)
    assert ada.call(token).status_code == 401
    assert robot.introspect(token).json == {"active": False}
    assert ada.refresh(answer["refresh_token"]).status_code == 400


def test_an_opaque_token_that_was_never_given_is_unknown(ada: Browser) -> None:
    assert ada.call(generate_secret(ACCESS_TOKEN).reveal()).status_code == 401


def test_an_opaque_token_expires(robot: Browser, runtime: Runtime, clock: Clock) -> None:
    put_resource(runtime, ISSUER, token_format="opaque")
    token = robot.request_token("client_credentials").json["access_token"]
    assert count_rows(runtime.store, "valetkey_access_tokens") == 1
    clock.forward(seconds=900)

    assert robot.call(token).status_code == 401
    assert robot.introspect(token).json == {"active": False}


def test_a_token_is_for_the_resource_that_was_asked_for(ada: Browser, robot: Browser, runtime: Runtime) -> None:
    put_resource(runtime, OTHER, scopes_supported=["notes:read"])
    asked = ada.obtain_tokens(scope=("notes:read",), resource=OTHER)

    assert ada.introspect(asked["access_token"]).json["aud"] == OTHER
    assert asked["scope"] == "notes:read"


def test_resources_are_narrowed_and_never_widened(ada: Browser, runtime: Runtime) -> None:
    """RFC 8707 §2.2."""
    put_resource(runtime, OTHER)
    query = [*ada.authorization_parameters().items(), ("resource", ISSUER), ("resource", OTHER)]
    asked = ada.get("/oauth/authorize", query_string=query)
    code = redirect_parameters(ada.approve(asked.location))["code"]
    answer = ada.redeem(code, resource=OTHER).json

    assert ada.introspect(answer["access_token"]).json["aud"] == OTHER
    back = ada.refresh(answer["refresh_token"], resource=ISSUER).json
    assert ada.introspect(back["access_token"]).json["aud"] == ISSUER
    narrow = ada.obtain_tokens(resource=ISSUER)
    assert ada.refresh(narrow["refresh_token"], resource=OTHER).json["error"] == "invalid_target"
    assert ada.redeem(ada.obtain_code(resource=ISSUER), resource=OTHER).json["error"] == "invalid_target"


def test_a_scope_that_the_resource_does_not_know_is_not_in_its_token(
    ada: Browser, runtime: Runtime, robot: Browser
) -> None:
    put_resource(runtime, OTHER, scopes_supported=["notes:read"])

    answer = robot.request_token("client_credentials", scope="notes:read notes:write", resource=OTHER)

    assert answer.json["scope"] == "notes:read"


def test_the_default_resource_of_a_client_is_used_where_none_is_named(app: Flask, runtime: Runtime) -> None:
    put_resource(runtime, OTHER)
    made = register_client(runtime, name="R", policy="machine", members={"default_resource": OTHER})
    client = Browser(app.test_client(), made)

    token = client.request_token("client_credentials").json["access_token"]

    assert client.introspect(token).json["aud"] == OTHER


def test_a_grant_for_a_resource_that_is_gone_is_worth_nothing(
    ada: Browser, make_app: MakeApp, store_url: str, robot: Browser, runtime: Runtime
) -> None:
    code, tokens = ada.obtain_code(), ada.obtain_tokens()
    renamed = make_app(store_url, issuer="http://127.0.0.1:9000").test_client()
    shop, machine = Browser(renamed, ada.client), Browser(renamed, robot.client)
    with assert_store_unchanged(runtime):
        check_refusal(shop.redeem(code), "invalid_grant")
        check_refusal(shop.refresh(tokens["refresh_token"]), "invalid_grant")

    assert machine.request_token("client_credentials").status_code == 200
    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_a_default_resource_that_is_gone_is_told(app: Flask, runtime: Runtime) -> None:
    made = register_client(runtime, name="R", policy="machine", members={"default_resource": OTHER})

    check_refusal(Browser(app.test_client(), made).request_token("client_credentials"), "invalid_target")


def test_a_scope_that_the_publisher_took_back_is_left_out(make_app: MakeApp, store_url: str, robot: Browser) -> None:
    fewer = Browser(make_app(store_url, scopes={"notes:read": "Read your notes"}).test_client(), robot.client)

    assert fewer.request_token("client_credentials").json["scope"] == "notes:read"


def test_what_is_not_in_this_issue_is_not_there(ada: Browser) -> None:
    told = ada.get("/.well-known/oauth-authorization-server").json

    assert not {"implicit", "password"} & set(told["grant_types_supported"])
    assert "token" not in told["response_types_supported"]
    assert "plain" not in told["code_challenge_methods_supported"]
    assert CALLBACK not in str(told)
