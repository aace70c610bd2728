"""Fixtures: one server, its clients and its user Maya, for all third-party clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.client import Client
from tests.support.user import CALLBACK, EMAIL, LOOPBACK_CALLBACK, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The stand-alone server with Maya's account."""
    deployment = Deployment(tmp_path_factory.mktemp("interop"))
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


@pytest.fixture
def maya() -> Iterator[User]:
    """Maya, with a new browser."""
    with User(EMAIL, PASSWORD) as user:
        yield user


@pytest.fixture(scope="session")
def web_client(server: RunningServer) -> Client:
    """A confidential client that users sign in to."""
    return _create_client(server, "web", CALLBACK)


@pytest.fixture(scope="session")
def relying_party(server: RunningServer) -> Client:
    """A confidential client that may request every scope."""
    return _create_client(server, "web", CALLBACK, scope="")


@pytest.fixture(scope="session")
def native_relying_party(server: RunningServer) -> Client:
    """A public client that may request every scope."""
    return _create_client(server, "native", LOOPBACK_CALLBACK, scope="")


@pytest.fixture(scope="session")
def native_client(server: RunningServer) -> Client:
    """A public client on the user's device (RFC 8252)."""
    return _create_client(server, "native", LOOPBACK_CALLBACK)


@pytest.fixture(scope="session")
def machine_client(server: RunningServer) -> Client:
    """A client that gets tokens for itself (client credentials)."""
    return _create_client(server, "machine", None)


def _create_client(
    server: RunningServer, policy: str, redirect_uri: str | None, *, scope: str = "profile email"
) -> Client:
    created = server.deployment.create_client(
        policy,
        name=f"The {policy} app",
        scope=scope,
        redirect_uris=[redirect_uri] if redirect_uri else [],
    )
    return Client(created["client_id"], created["client_secret"], redirect_uri)
