"""Servers that tests start behave as the tests expect."""

from __future__ import annotations

import httpx
import pytest

from tests.support.fixtures import StartServer
from tests.support.program import accepts_connections
from tests.support.valetkey_server import RunningServer


def test_two_servers_with_one_database_have_the_same_issuer_and_keys(
    start_server: StartServer, database_url: str
) -> None:
    first = start_server(database_url=database_url)
    with first.start_another() as second:
        assert second.url != first.url
        assert second.metadata == first.metadata
        assert httpx.get(f"{second.url}/oauth/jwks").json() == httpx.get(f"{first.url}/oauth/jwks").json()


def test_a_client_that_is_registered_while_the_server_runs_gets_a_token(
    start_server: StartServer, database_url: str
) -> None:
    server = start_server(database_url=database_url)
    client = server.deployment.create_client("machine")
    response = httpx.post(
        server.metadata["token_endpoint"],
        data={"grant_type": "client_credentials"},
        auth=(client["client_id"], client["client_secret"]),
    )
    assert response.status_code == httpx.codes.OK, response.text


def test_a_stopped_server_exits_with_status_0_and_closes_its_port(start_server: StartServer) -> None:
    server = start_server(workers=2)
    assert server.stop() == 0
    assert not accepts_connections(server.port)


def test_a_killed_server_leaves_no_worker_and_can_start_again_on_its_port(
    start_server: StartServer,
) -> None:
    server = start_server(workers=2)
    server.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    with RunningServer(server.deployment) as restarted:
        assert restarted.metadata["issuer"] == server.issuer
