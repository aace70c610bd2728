"""Authlib's OAuth 2.0 client and its metadata validator."""

from __future__ import annotations

from typing import Any

import pytest
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from tests.interop.client import Client
from tests.support.user import User
from tests.support.valetkey_server import RunningServer

METHODS = ["client_secret_basic", "client_secret_post"]


def _connect(client: Client, method: str) -> OAuth2Session:
    return OAuth2Session(
        client.client_id,
        client.client_secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope="profile email",
        redirect_uri=client.redirect_uri,
        code_challenge_method="S256",
    )


def _sign_in(session: OAuth2Session, metadata: dict[str, Any], user: User) -> dict[str, Any]:
    verifier = generate_token(48)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    redirect_url = user.allow(url)
    return dict(
        session.fetch_token(
            metadata["token_endpoint"], authorization_response=redirect_url, state=state, code_verifier=verifier
        )
    )


def test_authlib_accepts_the_metadata(server: RunningServer) -> None:
    metadata = AuthorizationServerMetadata(server.metadata)

    metadata.validate()

    assert metadata.issuer == server.issuer
    assert metadata.code_challenge_methods_supported == ["S256"]
    assert metadata.response_types_supported == ["code"]
    assert not {"implicit", "password"} & set(metadata.grant_types_supported)


@pytest.mark.parametrize("method", METHODS)
def test_a_web_client_can_sign_in_refresh_and_revoke(
    server: RunningServer, web_client: Client, maya: User, method: str
) -> None:
    metadata = server.metadata
    with _connect(web_client, method) as session:
        first = _sign_in(session, metadata, maya)
        assert first["token_type"] == "Bearer"
        assert set(first["scope"].split()) == {"profile", "email"}
        assert _is_active(session, metadata, first["access_token"])

        second = session.refresh_token(metadata["token_endpoint"], first["refresh_token"])
        assert second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]

        session.revoke_token(metadata["revocation_endpoint"], second["refresh_token"], "refresh_token")
        assert not _is_active(session, metadata, second["access_token"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(metadata["token_endpoint"], second["refresh_token"])


def test_a_native_client_can_sign_in_and_refresh_without_a_secret(
    server: RunningServer, native_client: Client, maya: User
) -> None:
    with _connect(native_client, "none") as session:
        first = _sign_in(session, server.metadata, maya)
        second = session.refresh_token(server.metadata["token_endpoint"], first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]


def test_a_code_with_a_wrong_verifier_is_refused(server: RunningServer, native_client: Client, maya: User) -> None:
    with _connect(native_client, "none") as session:
        url, state = session.create_authorization_url(
            server.metadata["authorization_endpoint"], code_verifier=generate_token(48)
        )
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.fetch_token(
                server.metadata["token_endpoint"],
                authorization_response=maya.allow(url),
                state=state,
                code_verifier=generate_token(48),
            )


@pytest.mark.parametrize("method", METHODS)
def test_a_machine_client_gets_a_token_with_client_credentials(
    server: RunningServer, machine_client: Client, method: str
) -> None:
    with _connect(machine_client, method) as session:
        token = session.fetch_token(server.metadata["token_endpoint"], grant_type="client_credentials")
        claims = _introspect(session, server.metadata, token["access_token"])

    assert "refresh_token" not in token
    assert claims["active"] is True
    assert claims["client_id"] == machine_client.client_id
    assert claims["iss"] == server.issuer


def _introspect(session: OAuth2Session, metadata: dict[str, Any], token: str) -> dict[str, Any]:
    response = session.introspect_token(metadata["introspection_endpoint"], token, "access_token")
    return dict(response.json())


def _is_active(session: OAuth2Session, metadata: dict[str, Any], token: str) -> bool:
    return bool(_introspect(session, metadata, token)["active"])
