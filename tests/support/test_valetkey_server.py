"""What tests believe of the servers that they start."""

from __future__ import annotations

import httpx
import pytest

from tests.support.fixtures import StartServer
from tests.support.program import accepts_connections
from tests.support.valetkey_server import RunningServer


def test_two_servers_on_one_database_are_one_issuer(start_server: StartServer, database_url: str) -> None:
    first = start_server(database_url=database_url)
    with first.start_another() as second:
        assert second.url != first.url
        assert second.metadata == first.metadata
        assert httpx.get(f"{second.url}/oauth/jwks").json() == httpx.get(f"{first.url}/oauth/jwks").json()


def test_a_client_registered_while_the_server_runs_is_known_to_it(start_server: StartServer, database_url: str) -> None:
    server = start_server(database_url=database_url)
    made = server.deployment.create_client("machine")
    answer = httpx.post(
        server.metadata["token_endpoint"],
        data={"grant_type": "client_credentials"},
        auth=(made["client_id"], made["client_secret"]),
    )
    assert answer.status_code == httpx.codes.OK, answer.text


def test_a_server_that_is_told_to_stop_ends_in_order(start_server: StartServer) -> None:
    server = start_server(workers=2)
    assert server.stop() == 0
    assert not accepts_connections(server.port)


def test_a_killed_server_leaves_no_worker_behind_and_starts_again_on_its_port(
    start_server: StartServer,
) -> None:
    server = start_server(workers=2)
    server.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    with RunningServer(server.deployment) as again:
        assert again.metadata["issuer"] == server.issuer
