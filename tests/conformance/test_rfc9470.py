"""RFC 9470: OAuth 2.0 Step Up Authentication Challenge Protocol."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify

from tests.conformance.relying_party import RelyingParty
from tests.support.clock import Clock
from valetkey import require_oauth
from valetkey.protocol.resource_owner import PASSWORD_ACR

GOLD = "urn:example:acr:gold"


@pytest.fixture
def bank(provider: Flask, rp: RelyingParty) -> RelyingParty:
    """A relying party of an API with routes that require a recent sign-in or an acr value."""

    @provider.get("/api/recent")
    @require_oauth("profile", max_age=300)
    def recent() -> Any:
        return jsonify(ok=True)

    @provider.get("/api/gold")
    @require_oauth("profile", acr=f"{GOLD} urn:example:acr:silver", max_age=60)
    def gold() -> Any:
        return jsonify(ok=True)

    @provider.get("/api/password")
    @require_oauth("profile", acr=PASSWORD_ACR)
    def password() -> Any:
        return jsonify(ok=True)

    return rp


def test_a_sign_in_that_is_too_old_gets_401_with_max_age(bank: RelyingParty, clock: Clock) -> None:
    """§3: insufficient_user_authentication, max_age."""
    token = bank.obtain_tokens(scope="profile")["access_token"]
    assert bank.call(token, "/api/recent").status_code == 200
    clock.forward(seconds=301)

    refused = bank.call(token, "/api/recent")

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
    assert 'max_age="300"' in refused.headers["WWW-Authenticate"]
    assert "acr_values" not in refused.headers["WWW-Authenticate"]
    assert refused.json["error"] == "insufficient_user_authentication"


def test_an_insufficient_acr_gets_401_with_the_accepted_values(bank: RelyingParty) -> None:
    """§3: acr_values in order of preference; a challenge may contain both parameters."""
    refused = bank.call(bank.obtain_tokens(scope="profile")["access_token"], "/api/gold")

    assert refused.status_code == 401
    assert f'acr_values="{GOLD} urn:example:acr:silver"' in refused.headers["WWW-Authenticate"]
    assert 'max_age="60"' in refused.headers["WWW-Authenticate"]
    assert bank.call(bank.obtain_tokens(scope="profile")["access_token"], "/api/password").status_code == 200


def test_a_route_without_these_requirements_accepts_an_old_sign_in(bank: RelyingParty, clock: Clock) -> None:
    """§3."""
    token = bank.obtain_tokens(scope="profile")["access_token"]
    clock.forward(seconds=301)

    assert bank.call(token).status_code == 200


def test_a_missing_scope_is_refused_before_an_old_sign_in(bank: RelyingParty, clock: Clock) -> None:
    """§3, RFC 6750 §3.1."""
    token = bank.obtain_tokens(scope="notes:read")["access_token"]
    clock.forward(seconds=301)

    assert bank.call(token, "/api/recent").status_code == 403


def test_an_authorization_request_with_the_challenges_values_gets_a_sufficient_token(
    bank: RelyingParty, clock: Clock
) -> None:
    """§4, §5."""
    bank.obtain_tokens(scope="profile")
    clock.forward(seconds=301)

    token = bank.obtain_tokens(scope="profile", max_age="300", acr_values=f"{GOLD} {PASSWORD_ACR}")["access_token"]

    assert bank.call(token, "/api/recent").status_code == 200


def test_the_token_and_introspection_contain_acr_and_auth_time(bank: RelyingParty, clock: Clock) -> None:
    """§6.1, §6.2: JWT and introspection."""
    token = bank.obtain_tokens(scope="profile")["access_token"]

    for claims in (bank.decode_jwt(token), bank.introspect(token).json):
        assert (claims["acr"], claims["auth_time"]) == (PASSWORD_ACR, int(clock.time))


def test_a_refresh_does_not_make_the_sign_in_more_recent(bank: RelyingParty, clock: Clock) -> None:
    """§6, RFC 9068 §2.2.1."""
    tokens = bank.obtain_tokens(scope="profile")
    clock.forward(seconds=301)

    token = bank.refresh(tokens["refresh_token"]).json["access_token"]

    assert bank.decode_jwt(token)["auth_time"] == int(clock.time) - 301
    assert bank.call(token, "/api/recent").status_code == 401


def test_a_client_credentials_token_never_satisfies_max_age(bank: RelyingParty, make_relying_party: Any) -> None:
    """§3."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    token = machine_client.request_token("client_credentials", scope="profile").json["access_token"]

    assert machine_client.call(token, "/api/recent").status_code == 401


def test_metadata_contains_the_supported_acr_values(bank: RelyingParty) -> None:
    """§7: acr_values_supported."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        assert bank.get(path).json["acr_values_supported"] == [PASSWORD_ACR]
