"""Tokens of well-known products: client, user and scope of access tokens; other tokens are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.resource_server.fake_issuer import RESOURCE, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import TrustedIssuer

GUID = "6731de76-14a6-49ae-97bc-6eba6914391e"


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        yield running


KEYCLOAK = {
    "client_id": None,
    "typ": "Bearer",
    "azp": "shop",
    "aud": "account",
    "sub": "f:1:maya",
    "scope": "notes:read profile",
    "session_state": "s",
    "preferred_username": "maya",
    "realm_access": {"roles": ["editor", "offline_access"]},
    "resource_access": {"notes": {"roles": ["writer"]}},
}
AUTH0 = {
    "client_id": None,
    "azp": "shop",
    "aud": [RESOURCE, "https://tenant.auth0.com/userinfo"],
    "sub": "auth0|1",
    "scope": "openid notes:read",
    "permissions": ["notes:read", "notes:write"],
}
ENTRA_2 = {
    "client_id": None,
    "jti": None,
    "scope": None,
    "aud": GUID,
    "azp": "a0f6",
    "azpacr": "1",
    "oid": "oid",
    "sub": "pairwise",
    "scp": "notes:read",
    "tid": "t",
    "ver": "2.0",
}
ENTRA_1 = {**ENTRA_2, "azp": None, "appid": "a0f6", "appidacr": "1", "aud": "api://notes", "ver": "1.0"}
COGNITO = {
    "aud": None,
    "client_id": "shop",
    "token_use": "access",
    "scope": "notes:read aws.cognito.signin.user.admin",
    "username": "maya",
}

VALID_TOKENS: dict[str, tuple[dict[str, Any], dict[str, Any], str | None, str, set[str]]] = {
    "Keycloak, a user": (
        {"like": "keycloak", "audience": "account", "clients": ["shop"]},
        KEYCLOAK,
        "f:1:maya",
        "shop",
        {"notes:read", "profile"},
    ),
    "Keycloak, roles of the realm and of the API": (
        {
            "like": "keycloak",
            "audience": "account",
            "role_claims": ["realm_access.roles", "resource_access.notes.roles"],
            "roles": {"writer": "notes:write", "editor": "notes:edit"},
        },
        KEYCLOAK,
        "f:1:maya",
        "shop",
        {"notes:read", "profile", "notes:write", "notes:edit"},
    ),
    "Keycloak, a service account": (
        {"like": "keycloak", "audience": "account"},
        {**KEYCLOAK, "preferred_username": "service-account-shop", "client_id": "shop"},
        None,
        "shop",
        {"notes:read", "profile"},
    ),
    "Auth0, a user": ({"like": "auth0"}, AUTH0, "auth0|1", "shop", {"openid", "notes:read"}),
    "Auth0, by permissions": (
        {"like": "auth0", "scope_claims": "permissions"},
        AUTH0,
        "auth0|1",
        "shop",
        {"notes:read", "notes:write"},
    ),
    "Auth0, a client by itself": (
        {"like": "auth0"},
        {**AUTH0, "aud": RESOURCE, "sub": "shop@clients", "gty": "client-credentials", "scope": "notes:read"},
        None,
        "shop",
        {"notes:read"},
    ),
    "Entra, v2": ({"like": "entra", "audience": GUID}, ENTRA_2, "pairwise", "a0f6", {"notes:read"}),
    "Entra, v1": ({"like": "entra", "audience": "api://notes"}, ENTRA_1, "pairwise", "a0f6", {"notes:read"}),
    "Entra, a client by itself": (
        {"like": "entra", "audience": GUID},
        {**ENTRA_2, "scp": None, "roles": ["notes:read"], "sub": "oid"},
        None,
        "a0f6",
        {"notes:read"},
    ),
    "Entra, a user with roles": (
        {"like": "entra", "audience": GUID},
        {**ENTRA_2, "roles": ["notes:write"]},
        "pairwise",
        "a0f6",
        {"notes:read"},
    ),
    "Cognito, a user": (
        {"like": "cognito", "clients": ["shop"]},
        COGNITO,
        "maya",
        "shop",
        {"notes:read", "aws.cognito.signin.user.admin"},
    ),
    "Cognito, a client by itself": (
        {"like": "cognito", "clients": ["shop"]},
        {**COGNITO, "sub": "shop", "username": None, "scope": "notes:read"},
        None,
        "shop",
        {"notes:read"},
    ),
    "Okta, as a standard issuer": (
        {},
        {"client_id": None, "cid": "shop", "scope": None, "scp": ["notes:read"], "uid": "1"},
        "maya",
        "shop",
        {"notes:read"},
    ),
}


@pytest.mark.parametrize(("trusted", "claims", "user", "app", "scopes"), VALID_TOKENS.values(), ids=VALID_TOKENS)
def test_client_user_and_scopes_of_a_products_access_token_are_read(
    clock: Clock,
    issuer: FakeIssuer,
    trusted: dict[str, Any],
    claims: dict[str, Any],
    user: str | None,
    app: str,
    scopes: set[str],
) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, **trusted))
    token = issuer.token(header={"typ": "JWT"}, **claims)

    assert api.call(token, "/api/any").json == {"scopes": sorted(scopes)}
    if "notes:read" in scopes:
        assert api.call(token).json == {"issuer": issuer.url, "user": user, "app": app}


OTHER_TOKENS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Keycloak's ID token": ({"like": "keycloak", "audience": "shop"}, {**KEYCLOAK, "typ": "ID", "aud": "shop"}),
    "Keycloak's refresh token": ({"like": "keycloak", "audience": "account"}, {**KEYCLOAK, "typ": "Refresh"}),
    "Keycloak's token that is bound by DPoP": (
        {"like": "keycloak", "audience": "account"},
        {**KEYCLOAK, "typ": "DPoP", "cnf": {"jkt": "x"}},
    ),
    "Keycloak's token of another client": (
        {"like": "keycloak", "audience": "account", "clients": ["shop"]},
        {**KEYCLOAK, "azp": "other"},
    ),
    "Auth0's ID token": (
        {"like": "auth0", "audience": "shop"},
        {"client_id": None, "scope": None, "aud": "shop", "sub": "auth0|1", "nickname": "maya"},
    ),
    "Entra's ID token, if API and client have the same id": (
        {"like": "entra", "audience": GUID},
        {**ENTRA_2, "azp": None, "azpacr": None, "scp": None, "roles": ["notes:read"], "nonce": "n"},
    ),
    "Entra's ID token without a nonce": (
        {"like": "entra", "audience": GUID},
        {**ENTRA_2, "azp": None, "azpacr": None, "scp": None, "roles": ["notes:read"]},
    ),
    "Entra's token without scope and role": ({"like": "entra", "audience": GUID}, {**ENTRA_2, "scp": None}),
    "Cognito's ID token": (
        {"like": "cognito", "clients": ["shop"], "audience": "shop"},
        {**COGNITO, "token_use": "id", "aud": "shop"},
    ),
    "Cognito's token of another client": ({"like": "cognito", "clients": ["shop"]}, {**COGNITO, "client_id": "other"}),
    "Cognito's token if no clients are configured": ({"like": "cognito"}, COGNITO),
    "Google's ID token": (
        {"audience": "shop.apps.googleusercontent.com"},
        {
            "client_id": None,
            "scope": None,
            "azp": "shop.apps.googleusercontent.com",
            "aud": "shop.apps.googleusercontent.com",
            "email": "maya@gmail.example",
        },
    ),
    "a typ that Valetkey does not use": ({"like": "valetkey"}, {}),
}


@pytest.mark.parametrize(("trusted", "claims"), OTHER_TOKENS.values(), ids=OTHER_TOKENS)
def test_tokens_that_are_no_access_tokens_for_this_api_are_refused(
    clock: Clock, issuer: FakeIssuer, trusted: dict[str, Any], claims: dict[str, Any]
) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, **trusted))

    assert api.call(issuer.token(header={"typ": "JWT"}, **claims), "/api/any").status_code == 401


def test_both_issuers_of_one_entra_tenant_can_be_trusted(clock: Clock) -> None:
    with FakeIssuer(clock, "/t/") as first, FakeIssuer(clock, "/t/v2.0") as second:
        api = StandaloneApi(
            clock,
            TrustedIssuer(first.url, like="entra", audience="api://notes"),
            TrustedIssuer(second.url, like="entra", audience=GUID),
        )
        first.overridden_responses["/t/.well-known/openid-configuration"] = (200, first.metadata, {})

        assert api.accepts(first.token(header={"typ": "JWT"}, **ENTRA_1))
        assert api.accepts(second.token(header={"typ": "JWT"}, **ENTRA_2))
        assert not api.accepts(first.token(header={"typ": "JWT"}, **ENTRA_2))
