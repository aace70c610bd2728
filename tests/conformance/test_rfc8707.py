"""RFC 8707: Resource Indicators for OAuth 2.0."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty, redirect_error, register_resource
from tests.support.browser_client import ISSUER, redirect_parameters
from tests.support.store_assertions import assert_store_unchanged

NOTES, PHOTOS = "https://notes.example/v1", "https://photos.example"
WRONG = [
    "notes",
    "/v1",
    "https://notes.example/v1#part",
    "https://unknown.example",
    "urn:notes",
    f"{NOTES}/",
    "https://",
]


@pytest.fixture(autouse=True)
def two_resources(rp: RelyingParty) -> None:
    register_resource(rp.runtime, NOTES, scopes_supported=["notes:read"])
    register_resource(rp.runtime, PHOTOS)


def ask_for(rp: RelyingParty, *resources: str, **more: str) -> TestResponse:
    """An authorization request for several resources, allowed."""
    asked = rp.authorization_parameters(**{"scope": "notes:read notes:write", **more})
    return rp.follow_to_client(
        rp.get("/oauth/authorize", query_string=[*asked.items(), *(("resource", one) for one in resources)])
    )


def audience(rp: RelyingParty, token: str) -> Any:
    return rp.introspect(token).json["aud"]


@pytest.mark.parametrize("resource", WRONG)
def test_an_unknown_or_malformed_resource_is_an_invalid_target(rp: RelyingParty, resource: str) -> None:
    """§2: an absolute URI without a fragment, and one that is served; compared as it is written."""
    with assert_store_unchanged(rp.runtime):
        assert redirect_error(rp.authorize(resource=resource)) == "invalid_target"


@pytest.mark.parametrize("resource", WRONG)
def test_the_token_endpoint_refuses_the_same(make_relying_party: MakeRelyingParty, resource: str) -> None:
    """§2.2."""
    robot = make_relying_party("machine", redirect_uris=[])

    refused = robot.request_token("client_credentials", scope="profile", resource=resource)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("written", [PHOTOS, f"{PHOTOS}/", "HTTPS://Photos.Example"])
def test_a_resource_without_a_path_may_be_written_with_a_slash(rp: RelyingParty, written: str) -> None:
    """§2, RFC 3986 §6.2.2.1, §6.2.3: JavaScript's URL writes it so; the token names the resource as the server does."""
    first = rp.redeem(redirect_parameters(ask_for(rp, written))["code"], resource=written).json
    again = rp.refresh(first["refresh_token"], resource=written).json

    assert [audience(rp, one["access_token"]) for one in (first, again)] == [PHOTOS, PHOTOS]


def test_the_parameter_may_come_several_times(rp: RelyingParty) -> None:
    """§2."""
    token = rp.redeem(redirect_parameters(ask_for(rp, NOTES, PHOTOS))["code"]).json["access_token"]

    assert audience(rp, token) == [NOTES, PHOTOS]


def test_one_resource_that_is_not_served_spoils_the_request(rp: RelyingParty) -> None:
    """§2."""
    assert redirect_error(ask_for(rp, NOTES, "https://unknown.example")) == "invalid_target"


def test_a_token_is_for_the_resource_that_was_asked_for_and_for_no_other(rp: RelyingParty) -> None:
    """§2.2, §3."""
    token = rp.redeem(redirect_parameters(ask_for(rp, PHOTOS))["code"]).json["access_token"]

    assert audience(rp, token) == PHOTOS
    assert rp.call(token).status_code == 401
    assert rp.call_userinfo(token).status_code == 401


def test_a_token_request_takes_a_part_of_what_was_granted(rp: RelyingParty) -> None:
    """§2.2."""
    redeemed = rp.redeem(redirect_parameters(ask_for(rp, NOTES, PHOTOS))["code"], resource=NOTES).json

    assert audience(rp, redeemed["access_token"]) == NOTES
    assert redeemed["scope"] == "notes:read"


def test_a_token_request_gets_no_more_than_was_granted_and_spoils_nothing(rp: RelyingParty) -> None:
    """§2.2."""
    code = redirect_parameters(ask_for(rp, PHOTOS))["code"]
    with assert_store_unchanged(rp.runtime):
        refused = rp.redeem(code, resource=NOTES)

    assert refused.json["error"] == "invalid_target"
    assert rp.redeem(code, resource=PHOTOS).status_code == 200


def test_each_refresh_may_take_another_part(rp: RelyingParty) -> None:
    """§2.2: a refresh token for several resources, access tokens for one each."""
    first = rp.redeem(redirect_parameters(ask_for(rp, NOTES, PHOTOS))["code"], resource=NOTES).json
    second = rp.refresh(first["refresh_token"], resource=PHOTOS).json
    third = rp.refresh(second["refresh_token"]).json

    assert audience(rp, second["access_token"]) == PHOTOS
    assert audience(rp, third["access_token"]) == [NOTES, PHOTOS]
    assert rp.refresh(third["refresh_token"], resource=ISSUER).json["error"] == "invalid_target"


def test_a_machine_asks_for_a_resource_at_the_token_endpoint(make_relying_party: MakeRelyingParty) -> None:
    """§2.2."""
    robot = make_relying_party("machine", redirect_uris=[])

    token = robot.request_token("client_credentials", scope="notes:read", resource=NOTES).json["access_token"]

    assert audience(robot, token) == NOTES


def test_the_scope_is_cut_to_what_the_resource_knows(rp: RelyingParty) -> None:
    """§2.2: and told to the client, as RFC 6749 §5.1 has it."""
    assert rp.redeem(redirect_parameters(ask_for(rp, NOTES))["code"]).json["scope"] == "notes:read"


def test_without_the_parameter_a_token_is_for_the_api_of_the_server(rp: RelyingParty) -> None:
    """§2: the default."""
    assert audience(rp, rp.obtain_tokens(scope="profile")["access_token"]) == ISSUER


def test_openid_beside_a_resource_gives_an_id_token(rp: RelyingParty) -> None:
    """§2; userinfo is a resource of the issuer's and has to be asked for."""
    answer = rp.redeem(redirect_parameters(ask_for(rp, PHOTOS, ISSUER, scope="openid"))["code"]).json

    assert rp.decode_jwt(answer["id_token"])["sub"] == "ada"
    assert rp.call_userinfo(answer["access_token"]).status_code == 200
