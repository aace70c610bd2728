"""requests-oauthlib and oauthlib, on which it is based."""

from __future__ import annotations

from typing import Any

import pytest
from oauthlib.oauth2 import AccessDeniedError, BackendApplicationClient, InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.interop.client import Client
from tests.support.user import User
from tests.support.valetkey_server import RunningServer

SCOPE = ["profile", "email"]


@pytest.fixture(autouse=True)
def _plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def _sign_in(session: OAuth2Session, server: RunningServer, user: User, **credentials: Any) -> dict[str, Any]:
    url, _ = session.authorization_url(server.metadata["authorization_endpoint"])
    redirect_url = user.allow(url)
    return dict(
        session.fetch_token(server.metadata["token_endpoint"], authorization_response=redirect_url, **credentials)
    )


def test_a_web_client_can_sign_in_refresh_introspect_and_revoke(
    server: RunningServer, web_client: Client, maya: User
) -> None:
    metadata = server.metadata
    basic = HTTPBasicAuth(web_client.client_id, str(web_client.client_secret))
    with OAuth2Session(web_client.client_id, redirect_uri=web_client.redirect_uri, scope=SCOPE, pkce="S256") as session:
        first = _sign_in(session, server, maya, auth=basic)
        second = session.refresh_token(metadata["token_endpoint"], auth=basic)
        assert second["refresh_token"] != first["refresh_token"]
        assert _introspect(session, metadata, second["access_token"], basic)["active"] is True

        url, headers, body = session._client.prepare_token_revocation_request(
            metadata["revocation_endpoint"], second["refresh_token"], "refresh_token"
        )
        session.post(url, data=body, headers=headers, auth=basic, withhold_token=True).raise_for_status()
        assert _introspect(session, metadata, second["access_token"], basic) == {"active": False}
        with pytest.raises(InvalidGrantError):
            session.refresh_token(metadata["token_endpoint"], second["refresh_token"], auth=basic)


def test_a_native_client_can_sign_in_without_a_secret(server: RunningServer, native_client: Client, maya: User) -> None:
    with OAuth2Session(
        native_client.client_id, redirect_uri=native_client.redirect_uri, scope=SCOPE, pkce="S256"
    ) as session:
        token = _sign_in(session, server, maya, include_client_id=True)

    assert token["token_type"] == "Bearer"


def test_the_client_gets_an_error_if_the_user_denies_access(
    server: RunningServer, native_client: Client, maya: User
) -> None:
    with OAuth2Session(
        native_client.client_id, redirect_uri=native_client.redirect_uri, scope=SCOPE, pkce="S256"
    ) as session:
        url, _ = session.authorization_url(server.metadata["authorization_endpoint"])
        with pytest.raises(AccessDeniedError):
            session.fetch_token(server.metadata["token_endpoint"], authorization_response=maya.deny(url))


def test_a_machine_client_gets_a_token_with_client_credentials(server: RunningServer, machine_client: Client) -> None:
    basic = HTTPBasicAuth(machine_client.client_id, str(machine_client.client_secret))
    with OAuth2Session(client=BackendApplicationClient(machine_client.client_id)) as session:
        token = session.fetch_token(server.metadata["token_endpoint"], scope=["profile"], auth=basic)
        claims = _introspect(session, server.metadata, token["access_token"], basic)

    assert "refresh_token" not in token
    assert (claims["active"], claims["scope"]) == (True, "profile")


def _introspect(session: OAuth2Session, metadata: dict[str, Any], token: str, auth: HTTPBasicAuth) -> Any:
    response = session.post(metadata["introspection_endpoint"], data={"token": token}, auth=auth, withhold_token=True)
    response.raise_for_status()
    return response.json()
