"""Which changes of a client need a new consent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from valetkey.protocol.client_identity import covers_identity, describe_identity, identity_changes

METADATA = {
    "client_name": "Shop",
    "redirect_uris": ["https://shop.example/back", "http://127.0.0.1:3000/back"],
    "token_endpoint_auth_method": "client_secret_basic",
    "contacts": ["ada@shop.example"],
    "jwks_uri": "https://shop.example/keys",
}


def identity(policy: str = "web", **changes: Any) -> str:
    return describe_identity("shop", policy, {**METADATA, **changes})


ADDED_URIS = {
    "another host": "https://other.example/back",
    "a host that contains the old one": "https://shop.example.evil.example/back",
    "a subdomain": "https://a.shop.example/back",
    "another port": "https://shop.example:8443/back",
    "another scheme": "com.example.shop:/back",
    "http instead of https": "http://localhost/back",
    "https on loopback": "https://127.0.0.1/back",
}


@pytest.mark.parametrize("uri", ADDED_URIS.values(), ids=ADDED_URIS)
def test_an_added_redirect_host_or_scheme_needs_a_new_consent(uri: str) -> None:
    assert not covers_identity(identity(), identity(redirect_uris=[*METADATA["redirect_uris"], uri]))


@pytest.mark.parametrize(
    ("policy", "changes"),
    [("web", {"client_name": "Shop!"}), ("browser", {}), ("web", {"token_endpoint_auth_method": "none"})],
    ids=["name", "policy", "weaker authentication"],
)
def test_a_new_name_another_policy_or_weaker_authentication_needs_a_new_consent(
    policy: str, changes: dict[str, Any]
) -> None:
    assert not covers_identity(identity(), identity(policy, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": ["https://shop.example/back"]},
        {"redirect_uris": [*METADATA["redirect_uris"], "https://shop.example/other", "https://SHOP.example:443/x"]},
        {"redirect_uris": ["http://127.0.0.1:4000/back"]},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"contacts": ["eve@shop.example"], "jwks_uri": "https://shop.example/new", "logo_uri": "https://x.example/l"},
    ],
    ids=["removed URI", "another path", "loopback port", "stronger method", "other secret method", "contacts and keys"],
)
def test_other_changes_need_no_new_consent(changes: dict[str, Any]) -> None:
    assert covers_identity(identity(), identity(**changes))


def test_private_key_jwt_replaced_by_a_secret_is_weaker() -> None:
    assert not covers_identity(identity(token_endpoint_auth_method="private_key_jwt"), identity())


def test_an_unknown_identity_covers_none() -> None:
    assert not covers_identity(None, identity())


def test_the_changes_are_sentences_for_the_user() -> None:
    changed = identity("browser", client_name="Sh0p", redirect_uris=["https://evil.example/"])

    assert identity_changes(identity(), changed) == (
        "Its name was Shop.",
        "It can now redirect you to https://evil.example.",
        "It is now another kind of app.",
    )


def test_a_client_without_a_name_has_its_id_as_name() -> None:
    assert json.loads(describe_identity("shop", "web", {}))["name"] == "shop"


def test_an_invalid_redirect_uri_in_an_old_registration_is_compared_as_text() -> None:
    assert identity_changes(identity(redirect_uris=[]), identity(redirect_uris=["not a URI"]))
