"""``valetkey check`` finds a connection pooler, providers that do not respond, and a Redis server that cannot count."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.support.fake_provider import FakeProvider
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgreSQLServer
from tests.support.redis_server import RedisServer
from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis server that the test may configure."""
    with RedisServer() as server:
        yield server


def make_unusable(server: RedisServer, kind: str) -> str:
    """Configure a Redis server so that it cannot count. Return the URL to use."""
    with redis.Redis.from_url(server.url) as connection:
        if kind == "no scripts":
            rights = ["on", ">secret-of-redis", "~*", "+@all", "-@scripting"]
            connection.execute_command("ACL", "SETUSER", "limited", *rights)
            return server.url.replace("redis://", "redis://limited:secret-of-redis@")
        if kind == "full":
            connection.config_set("maxmemory", 1)
        if kind == "read-only":
            connection.replicaof("127.0.0.1", 1)
    return server.url


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no scripts", "no permissions to run the"),
        ("full", "when used memory > .maxmemory"),
        ("read-only", "read only replica"),
    ],
)
def test_a_redis_server_that_responds_but_cannot_count_is_a_problem_and_the_log_says_what_it_said(
    kind: str, reason: str, own_redis: RedisServer, tmp_path: Path
) -> None:
    url = make_unusable(own_redis, kind)
    deployment = Deployment(tmp_path, app=LIMITED_API_FILE, settings={"redis_url": url})
    deployment.run("init")

    with pytest.raises(AssertionError, match=f"problem: Redis cannot count .*{reason}"):
        deployment.run("check")

    auth = deployment.create_client("machine")
    with RunningServer(deployment) as server:
        token_request = {"grant_type": "client_credentials"}
        response = httpx.post(
            f"{server.url}/oauth/token", data=token_request, auth=(auth["client_id"], auth["client_secret"])
        )
        assert response.is_success, "a limit of an endpoint fails open"
        assert re.search(reason, server.log)
        assert "secret-of-redis" not in server.log


def test_check_advises_to_name_the_pooler_and_rejects_the_wrong_mode(
    tmp_path: Path, postgresql: PostgreSQLServer, postgresql_url: str
) -> None:
    with PgBouncer(postgresql.port) as pooler:
        settings = {"database_url": pooler.url(postgresql_url)}
        deployment = Deployment(tmp_path, settings=settings)
        deployment.run("init")
        assert "advice:  a connection pooler is in front of the database" in deployment.run("check")

        with_mode = Deployment(tmp_path, settings={**settings, "database_pooler": "transaction"})
        assert "pooler" not in with_mode.run("check")

        wrong = Deployment(tmp_path, settings={**settings, "database_pooler": "session"})
        with pytest.raises(AssertionError, match="problem: database_pooler is 'session', but"):
            wrong.run("check")


def test_requests_through_pgbouncer_succeed(tmp_path: Path, postgresql: PostgreSQLServer, postgresql_url: str) -> None:
    with PgBouncer(postgresql.port) as pooler:
        deployment = Deployment(tmp_path, settings={"database_url": pooler.url(postgresql_url)})
        deployment.run("init")
        deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")  # each token is written
        client = deployment.create_client("machine")
        auth = (client["client_id"], client["client_secret"])
        with RunningServer(deployment, workers=2) as server, httpx.Client(timeout=30) as http:
            for _ in range(40):
                token = http.post(f"{server.url}/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
                assert token.is_success, token.text
                form = {"token": token.json()["access_token"]}
                assert http.post(f"{server.url}/oauth/introspect", data=form, auth=auth).json()["active"] is True
            assert "Traceback" not in server.log
            assert "WARNING" not in server.log


def test_a_provider_that_does_not_respond_or_has_another_issuer_is_named(tmp_path: Path) -> None:
    with FakeProvider(time.time) as provider:
        wrong = {"issuer": f"{provider.issuer}/other", "client_id": "a", "client_secret": "b", "name": "Wrong"}
        right = {"issuer": provider.issuer, "client_id": "a", "client_secret": "b", "name": "Right"}
        deployment = Deployment(tmp_path, settings={"sign_in_with": json.dumps([wrong, right])})
        deployment.run("init")
        output = deployment.run("check")

        assert re.search(rf"advice:  users cannot sign in with Wrong \({provider.issuer}/other\) now: .*404", output), (
            output
        )
        assert "Right" not in output

    assert "users cannot sign in with Right" in deployment.run("check")
