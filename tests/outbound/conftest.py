"""A fetcher with little patience, and servers that try it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.browser_client import Clock
from tests.support.hostile_server import Behaviour, HostileServer
from valetkey.outbound.http import Fetcher

TIMEOUT_S = 0.5
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")

MakeFetcher = Callable[..., Fetcher]
StartHostileServer = Callable[..., HostileServer]


@pytest.fixture
def make_fetcher(clock: Clock) -> MakeFetcher:
    def make(*allowed_networks: str, ca_file: str | None = None, **options: Any) -> Fetcher:
        return Fetcher(allowed_networks, ca_file, clock, **{"timeout_s": TIMEOUT_S, **options})

    return make


@pytest.fixture
def fetcher(make_fetcher: MakeFetcher) -> Fetcher:
    """It may reach loopback."""
    return make_fetcher(*LOOPBACK_NETWORKS)


@pytest.fixture
def serve() -> Iterator[StartHostileServer]:
    with ExitStack() as servers:

        def start(behaviour: Behaviour, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> HostileServer:
            return servers.enter_context(HostileServer(behaviour, address, tls))

        yield start


@pytest.fixture
def in_time() -> Callable[[], AbstractContextManager[None]]:
    """Whatever happens inside, it is over a second after the deadline at most."""

    @contextmanager
    def watch() -> Iterator[None]:
        began = time.monotonic()
        yield
        assert time.monotonic() - began < TIMEOUT_S + 1

    return watch
