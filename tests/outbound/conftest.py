"""Fixtures: a fetcher with a short timeout, and servers that misbehave."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from tests.outbound.fetcher import LOOPBACK_NETWORKS, TIMEOUT_S, MakeFetcher
from tests.support.clock import Clock
from tests.support.hostile_server import Behaviour, HostileServer, StartHostileServer
from valetkey.outbound.http import Fetcher


@pytest.fixture
def make_fetcher(clock: Clock) -> MakeFetcher:
    def make(*allowed_networks: str, ca_file: str | None = None, **options: Any) -> Fetcher:
        return Fetcher(allowed_networks, ca_file, clock, **{"timeout_s": TIMEOUT_S, **options})

    return make


@pytest.fixture
def fetcher(make_fetcher: MakeFetcher) -> Fetcher:
    """Return a fetcher that may connect to loopback addresses."""
    return make_fetcher(*LOOPBACK_NETWORKS)


@pytest.fixture
def start_hostile_server() -> Iterator[StartHostileServer]:
    with ExitStack() as servers:

        def start(behaviour: Behaviour, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> HostileServer:
            return servers.enter_context(HostileServer(behaviour, address, tls))

        yield start


@pytest.fixture
def assert_in_time() -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager that fails if its body takes more than a second longer than the fetch timeout."""

    @contextmanager
    def check_duration() -> Iterator[None]:
        started_at = time.monotonic()
        yield
        assert time.monotonic() - started_at < TIMEOUT_S + 1

    return check_duration
