"""RFC 8707: Resource Indicators for OAuth 2.0."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty, redirect_error, register_resource
from tests.support.browser_client import ISSUER, redirect_parameters
from tests.support.store_assertions import assert_store_unchanged
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, resources

NOTES, PHOTOS = "https://notes.example/v1", "https://photos.example"
INVALID_RESOURCES = [
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


def request_resources(rp: RelyingParty, *resources: str, **more: str) -> TestResponse:
    """Send an authorization request for these resources, allow it and return the response to the client."""
    parameters = rp.authorization_parameters(**{"scope": "notes:read notes:write", **more})
    return rp.follow_to_client(
        rp.get(
            "/oauth/authorize", query_string=[*parameters.items(), *(("resource", resource) for resource in resources)]
        )
    )


def remove_resource(runtime: Runtime, resource: str) -> None:
    """Do what ``valetkey resources remove`` does."""
    runtime.store.write_all(resources.remove(resource), change_feed.add("changed", "resources"))


def audience(rp: RelyingParty, token: str) -> Any:
    """Return the audience of a token by introspection."""
    return rp.introspect(token).json["aud"]


@pytest.mark.parametrize("resource", INVALID_RESOURCES)
def test_an_unknown_or_malformed_resource_is_an_invalid_target(rp: RelyingParty, resource: str) -> None:
    """§2: it must be an absolute URI without a fragment and exactly that of a registered resource."""
    with assert_store_unchanged(rp.runtime):
        assert redirect_error(rp.authorize(resource=resource)) == "invalid_target"


@pytest.mark.parametrize("resource", INVALID_RESOURCES)
def test_the_token_endpoint_refuses_an_unknown_or_malformed_resource(
    make_relying_party: MakeRelyingParty, resource: str
) -> None:
    """§2.2."""
    machine_client = make_relying_party("machine", redirect_uris=[])

    refused = machine_client.request_token("client_credentials", scope="profile", resource=resource)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("spelling", [PHOTOS, f"{PHOTOS}/", "HTTPS://Photos.Example"])
def test_equivalent_spellings_of_a_resource_without_a_path_are_accepted(rp: RelyingParty, spelling: str) -> None:
    """§2, RFC 3986 §6.2.2.1, §6.2.3; JavaScript's URL adds the slash. The token has the registered spelling."""
    first = rp.redeem(redirect_parameters(request_resources(rp, spelling))["code"], resource=spelling).json
    refreshed = rp.refresh(first["refresh_token"], resource=spelling).json

    assert [audience(rp, response["access_token"]) for response in (first, refreshed)] == [PHOTOS, PHOTOS]


def test_several_resources_may_be_requested(rp: RelyingParty) -> None:
    """§2."""
    token = rp.redeem(redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"]).json["access_token"]

    assert audience(rp, token) == [NOTES, PHOTOS]


def test_one_unknown_resource_makes_the_request_invalid(rp: RelyingParty) -> None:
    """§2."""
    assert redirect_error(request_resources(rp, NOTES, "https://unknown.example")) == "invalid_target"


def test_a_token_is_accepted_by_the_requested_resource_only(rp: RelyingParty) -> None:
    """§2.2, §3."""
    token = rp.redeem(redirect_parameters(request_resources(rp, PHOTOS))["code"]).json["access_token"]

    assert audience(rp, token) == PHOTOS
    assert rp.call(token).status_code == 401
    assert rp.call_userinfo(token).status_code == 401


def test_a_token_request_may_select_some_of_the_granted_resources(rp: RelyingParty) -> None:
    """§2.2."""
    redeemed = rp.redeem(redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"], resource=NOTES).json

    assert audience(rp, redeemed["access_token"]) == NOTES
    assert redeemed["scope"] == "notes:read"


def test_a_token_request_for_another_resource_is_refused_and_keeps_the_code_valid(rp: RelyingParty) -> None:
    """§2.2."""
    code = redirect_parameters(request_resources(rp, PHOTOS))["code"]
    with assert_store_unchanged(rp.runtime):
        refused = rp.redeem(code, resource=NOTES)

    assert refused.json["error"] == "invalid_target"
    assert rp.redeem(code, resource=PHOTOS).status_code == 200


def test_each_refresh_may_select_other_granted_resources(rp: RelyingParty) -> None:
    """§2.2: one refresh token for several resources, access tokens for some of them."""
    first = rp.redeem(redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"], resource=NOTES).json
    second = rp.refresh(first["refresh_token"], resource=PHOTOS).json
    third = rp.refresh(second["refresh_token"]).json

    assert audience(rp, second["access_token"]) == PHOTOS
    assert audience(rp, third["access_token"]) == [NOTES, PHOTOS]
    assert rp.refresh(third["refresh_token"], resource=ISSUER).json["error"] == "invalid_target"


def test_a_machine_client_requests_a_resource_at_the_token_endpoint(make_relying_party: MakeRelyingParty) -> None:
    """§2.2."""
    machine_client = make_relying_party("machine", redirect_uris=[])

    token = machine_client.request_token("client_credentials", scope="notes:read", resource=NOTES).json["access_token"]

    assert audience(machine_client, token) == NOTES


def test_the_scope_is_reduced_to_the_scopes_of_the_resource(rp: RelyingParty) -> None:
    """§2.2; the response contains the scope (RFC 6749 §5.1)."""
    assert rp.redeem(redirect_parameters(request_resources(rp, NOTES))["code"]).json["scope"] == "notes:read"


def test_without_the_parameter_the_audience_is_the_issuer(rp: RelyingParty) -> None:
    """§2: the default."""
    assert audience(rp, rp.obtain_tokens(scope="profile")["access_token"]) == ISSUER


def test_a_request_with_openid_and_a_resource_returns_an_id_token(rp: RelyingParty) -> None:
    """§2; userinfo belongs to the issuer, which must be among the requested resources."""
    tokens = rp.redeem(redirect_parameters(request_resources(rp, PHOTOS, ISSUER, scope="openid"))["code"]).json

    assert rp.decode_jwt(tokens["id_token"])["sub"] == "ada"
    assert rp.call_userinfo(tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("removed", [NOTES, PHOTOS])
def test_a_refresh_leaves_out_a_resource_that_was_removed(rp: RelyingParty, removed: str) -> None:
    """§2.2, and the operator's choice that no more tokens are issued for it."""
    tokens = rp.redeem(redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"]).json
    remove_resource(rp.runtime, removed)

    refused = rp.refresh(tokens["refresh_token"], resource=removed)
    refreshed = rp.refresh(tokens["refresh_token"])

    assert refused.json["error"] == "invalid_target"
    assert refreshed.status_code == 200
    assert audience(rp, refreshed.json["access_token"]) == ({NOTES, PHOTOS} - {removed}).pop()


def test_a_grant_whose_resources_were_all_removed_gives_no_tokens(rp: RelyingParty) -> None:
    tokens = rp.redeem(redirect_parameters(request_resources(rp, PHOTOS))["code"]).json
    remove_resource(rp.runtime, PHOTOS)

    assert rp.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_a_resource_that_supports_none_of_the_granted_scopes_is_an_invalid_target(rp: RelyingParty) -> None:
    """§2.2: the token would have no scope. The refresh token stays valid for the other resource."""
    code = redirect_parameters(request_resources(rp, NOTES, PHOTOS, scope="notes:write"))["code"]
    tokens = rp.redeem(code, resource=PHOTOS).json

    refused = rp.refresh(tokens["refresh_token"], resource=NOTES)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_target")
    assert rp.refresh(tokens["refresh_token"], resource=PHOTOS).json["scope"] == "notes:write"


def test_a_token_for_several_resources_has_only_scopes_that_all_of_them_support(rp: RelyingParty) -> None:
    """§2.2, §3: each of them could use the token at the others. A token for one of them has all of its scopes."""
    tokens = rp.redeem(redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"]).json

    assert tokens["scope"] == "notes:read"
    assert rp.refresh(tokens["refresh_token"], resource=PHOTOS).json["scope"] == "notes:read notes:write"


def test_a_token_for_resources_without_a_common_scope_is_an_invalid_target(rp: RelyingParty) -> None:
    """§2.2: the code stays valid for one of the resources."""
    register_resource(rp.runtime, PHOTOS, scopes_supported=["notes:write"])
    code = redirect_parameters(request_resources(rp, NOTES, PHOTOS))["code"]

    refused = rp.redeem(code)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_target")
    assert rp.redeem(code, resource=PHOTOS).json["scope"] == "notes:write"


def test_a_machine_client_gets_only_scopes_that_all_of_its_resources_support(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§2.2."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    resources_of_both = [NOTES, ISSUER]

    both = machine_client.request_token(
        "client_credentials", scope="notes:read notes:write", resource=resources_of_both
    ).json
    refused = machine_client.request_token("client_credentials", scope="notes:write", resource=resources_of_both).json

    assert (both["scope"], audience(machine_client, both["access_token"])) == ("notes:read", resources_of_both)
    assert refused["error"] == "invalid_target"


def test_a_resource_that_is_removed_while_a_machine_client_requests_a_token_causes_no_error(
    make_relying_party: MakeRelyingParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§2.2: the request is answered as if it was sent before or after."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    resources = machine_client.runtime.resources
    before = resources.all()
    after = {url: resource for url, resource in before.items() if url != NOTES}
    reads = iter([before])
    monkeypatch.setattr(resources, "all", lambda: next(reads, after))

    response = machine_client.request_token("client_credentials", scope="notes:read", resource=[ISSUER, NOTES])

    assert response.status_code == 200


def test_a_request_for_scopes_that_the_resource_does_not_support_is_an_invalid_target(
    make_relying_party: MakeRelyingParty, rp: RelyingParty
) -> None:
    """§2: at each endpoint; a token without a scope might be accepted by routes that require none."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    television = make_relying_party("native", redirect_uris=["http://127.0.0.1/callback"])
    request = {"scope": "notes:write", "resource": NOTES}

    assert redirect_error(rp.authorize(**request)) == "invalid_target"
    assert machine_client.request_token("client_credentials", **request).json["error"] == "invalid_target"
    assert request_device_code(television, **request).json["error"] == "invalid_target"


def test_a_request_without_a_resource_for_scopes_that_the_api_does_not_support_is_an_invalid_scope(
    make_relying_party: MakeRelyingParty, rp: RelyingParty
) -> None:
    """RFC 6749 §3.3: the client named no resource, so the scope is what it must change."""
    register_resource(rp.runtime, ISSUER, scopes_supported=["notes:read"])
    machine_client = make_relying_party("machine", redirect_uris=[])
    television = make_relying_party("native", redirect_uris=["http://127.0.0.1/callback"])

    assert redirect_error(rp.authorize(scope="notes:write")) == "invalid_scope"
    assert machine_client.request_token("client_credentials", scope="notes:write").json["error"] == "invalid_scope"
    assert request_device_code(television, scope="notes:write").json["error"] == "invalid_scope"


def test_with_openid_the_issuer_adds_no_scopes_to_those_of_the_default_resource(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§3: the issuer is in the audience for userinfo only."""
    party = make_relying_party(members={"default_resource": NOTES})

    tokens = party.obtain_tokens(scope="openid notes:read notes:write")

    assert tokens["scope"] == "notes:read openid"
    assert audience(party, tokens["access_token"]) == [NOTES, ISSUER]
    assert party.refresh(tokens["refresh_token"], resource=ISSUER).json["scope"] == "notes:read openid"


def test_a_request_for_a_default_resource_that_was_removed_is_an_invalid_target(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§2: the user is not asked for a grant that gives no token."""
    party = make_relying_party(members={"default_resource": PHOTOS})
    television = make_relying_party(
        "native", redirect_uris=["http://127.0.0.1/callback"], members={"default_resource": PHOTOS}
    )
    remove_resource(party.runtime, PHOTOS)

    assert redirect_error(party.authorize(scope="notes:read")) == "invalid_target"
    assert request_device_code(television, scope="notes:read").json["error"] == "invalid_target"


def request_device_code(party: RelyingParty, **request: str) -> TestResponse:
    return party.http.post("/oauth/device", data={"client_id": party.client.client_id, **request})


def test_the_default_resource_of_a_client_may_have_an_equivalent_spelling(make_relying_party: MakeRelyingParty) -> None:
    """RFC 3986 §6.2.3, as in the parameter."""
    party = make_relying_party(members={"default_resource": f"{PHOTOS}/"})

    assert audience(party, party.obtain_tokens(scope="notes:read")["access_token"]) == PHOTOS
