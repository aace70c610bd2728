"""The ``claims`` parameter of authorization requests (OpenID Connect Core §5.5), which anybody can send."""

from __future__ import annotations

import json

import pytest

from tests.support.browser_client import Browser
from valetkey.protocol.claims import parse_claims_parameter, requested_values
from valetkey.protocol.errors import InvalidRequest


def nest(depth: int) -> str:
    """Return the JSON of an array in an array, and so on."""
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"id_token": {"acr": {"value": "\ud800"}}}),
        '{"id_token": {"acr": null, "acr": {}}}',
        '{"id_token": {"acr": {"value": NaN}}}',
        nest(1900),
        f'{{"id_token": {{"email": {{"value": {nest(1900)}}}}}}}',
        json.dumps({"userinfo": {"name": None}, "padding": "x" * 4000}),
    ],
    ids=["lone surrogate", "member twice", "NaN", "deep array", "deep value", "too long"],
)
def test_what_is_not_plain_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="claims"):
        parse_claims_parameter(text)


def test_only_the_members_of_the_specification_are_kept() -> None:
    sent = {"acr": {"essential": True, "values": ["a", [["b"]]], "purpose": [["c"]]}, "sub": {"value": {"a": "b"}}}

    requested = parse_claims_parameter(json.dumps({"id_token": sent, "verified_claims": {}}))["id_token"]

    assert requested == {"acr": {"essential": True, "values": ["a", None]}, "sub": {"value": None}}


def test_a_value_that_no_claim_can_have_is_not_the_same_as_any_value() -> None:
    (requested,) = parse_claims_parameter('{"id_token": {"sub": {"values": [["ada"]]}}}')["id_token"].values()

    assert requested_values(requested) == [None]


@pytest.mark.parametrize("depth", [5, 300, 700])
def test_a_nested_value_is_no_server_error(ada: Browser, depth: int) -> None:
    claims = f'{{"id_token": {{"email": {{"value": {nest(depth)}}}}}}}'

    assert ada.authorize(scope="openid", claims=claims).status_code in {302, 303}
