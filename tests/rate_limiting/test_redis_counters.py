"""Counters in Redis: after a failover, in cluster mode, and if several deployments share a database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis_server import RedisServer
from valetkey.rate_limiting.backends.counters import CountersUnavailable, Spend
from valetkey.rate_limiting.backends.redis_counters import RedisCounters
from valetkey.rate_limiting.limit import MAX_LEASE_AHEAD_S

NOW, COST_S = 1_900_000_000.0, 0.5
MAX_TAT = NOW + 10.0
API = "https://api.example"


@pytest.fixture
def cluster_node() -> Iterator[RedisServer]:
    """Redis server in cluster mode that has all slots."""
    with RedisServer("--cluster-enabled", "yes") as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            time.sleep(0.01)
        yield server


def test_after_a_failover_calls_are_counted_by_the_new_primary(tmp_path: Path) -> None:
    """The old primary becomes a replica and does not close the connection, and the address leads to the new one."""
    address, old_socket, new_socket = tmp_path / "address", tmp_path / "old", tmp_path / "new"
    address.symlink_to(old_socket)
    counters = RedisCounters(f"unix://{address}", API)
    with (
        RedisServer("--unixsocket", str(old_socket)) as old,
        RedisServer("--unixsocket", str(new_socket)) as new,
        redis.Redis.from_url(old.url) as old_client,
    ):
        assert counters.spend("caller", NOW, COST_S, MAX_TAT) == (True, NOW + COST_S)
        old_client.execute_command("REPLICAOF", "127.0.0.1", new.port)
        address.unlink()
        address.symlink_to(new_socket)

        with pytest.raises(CountersUnavailable, match="read only replica"):
            counters.spend("caller", NOW, COST_S, MAX_TAT)
        assert counters.spend("caller", NOW, COST_S, MAX_TAT) == (True, NOW + COST_S)
        counters.close()


def test_deployments_that_share_a_database_have_separate_counters(redis_server: RedisServer) -> None:
    first, second = RedisCounters(redis_server.url, API), RedisCounters(redis_server.url, "https://staging.example")

    for counters in (first, second):
        assert counters.spend("shared database", NOW, COST_S, MAX_TAT) == (True, NOW + COST_S)
    assert second.refund("shared database", COST_S, None)

    assert [counters.read("shared database", 0.0) for counters in (first, second)] == [NOW + COST_S, NOW]
    for counters in (first, second):
        counters.close()


def test_a_counter_that_was_charged_at_the_end_of_a_lease_stays_until_its_budget_is_full(
    redis_server: RedisServer,
) -> None:
    counters = RedisCounters(redis_server.url, API)
    _, tat = counters.spend("lease", NOW + MAX_LEASE_AHEAD_S, 0.125, MAX_TAT)

    with redis.Redis.from_url(redis_server.url) as client:
        remaining_ms = client.pttl(f"{counters._key_prefix}lease")

    assert remaining_ms > (tat - NOW) * 1000
    counters.close()


def test_calls_are_counted_together_in_cluster_mode(cluster_node: RedisServer) -> None:
    """There, a script may only change keys of one slot."""
    counters = RedisCounters(cluster_node.url, API)
    spends = [Spend(f"slot {number}", NOW, COST_S, MAX_TAT) for number in range(5)]

    assert [counters.spend_all(spends) for _ in range(2)] == [
        [(True, NOW + COST_S)] * 5,
        [(True, NOW + 2 * COST_S)] * 5,
    ]
    counters.close()


def test_a_cluster_of_several_nodes_is_named_as_the_reason_why_calls_cannot_be_counted(
    cluster_node: RedisServer,
) -> None:
    with (
        RedisServer("--cluster-enabled", "yes") as other_node,
        redis.Redis.from_url(other_node.url) as client,
    ):
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", cluster_node.port, cluster_node.cluster_port)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            time.sleep(0.01)
        counters = RedisCounters(other_node.url, API)

        with pytest.raises(CountersUnavailable, match="only clusters of one node are supported"):
            counters.spend("caller", NOW, COST_S, MAX_TAT)
        counters.close()
