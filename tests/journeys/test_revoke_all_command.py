"""An operator restores PostgreSQL with `pg_restore` and runs `valetkey revoke-all`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.app import ENCRYPTION_KEY
from tests.support.postgres import PostgreSQLServer
from tests.support.valetkey_server import Deployment, RunningServer

TOKEN_REQUEST = {"grant_type": "client_credentials"}


def find_program(name: str) -> str:
    """Return the path of a PostgreSQL program; Debian has them in a folder for each version."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[::-1]), None)
    assert found is not None, name
    return found


@pytest.fixture
def url(postgresql: PostgreSQLServer) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgresql.create_database()


def test_a_token_that_was_revoked_after_the_dump_is_refused_after_the_restore(url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": url, "encryption_keys": ENCRYPTION_KEY})
    dump = tmp_path / "valetkey.dump"
    deployment.run("init")
    client = deployment.create_client("machine")
    auth = (client["client_id"], client["client_secret"])
    with RunningServer(deployment) as server:
        token = httpx.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth).json()["access_token"]
        subprocess.run([find_program("pg_dump"), "--format=custom", f"--file={dump}", url], check=True)
        assert httpx.post(f"{server.url}/oauth/revoke", data={"token": token}, auth=auth).status_code == 200
        server.stop()
    restore = ["--clean", "--if-exists", "--single-transaction", f"--dbname={url}", str(dump)]
    subprocess.run([find_program("pg_restore"), *restore], check=True)
    deployment.run("db", "upgrade")

    output = deployment.run("revoke-all", "--yes")

    assert "All sessions have ended and all tokens are revoked." in output
    with RunningServer(deployment) as server:
        introspected = httpx.post(f"{server.url}/oauth/introspect", data={"token": token}, auth=auth)
        assert introspected.json() == {"active": False}
        assert httpx.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth).status_code == 200
        assert "tokens.all_revoked" in deployment.run("audit", "tail")


def test_large_tables_are_ended_within_the_statement_timeout(url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": url, "encryption_keys": ENCRYPTION_KEY})
    deployment.run("init")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO valetkey_grants (grant_id, client_id, owner, scope, resources, created_at, expires_at) "
            "SELECT 'grant' || number, 'app', 'ada', '', '[]', 0, 9e9 FROM generate_series(1, 8000) AS number"
        )
        connection.execute(
            "INSERT INTO valetkey_refresh_tokens (digest, grant_id, issued_at, expires_at) "
            "SELECT sha256(number::text::bytea), 'grant' || number, 0, 9e9 FROM generate_series(1, 8000) AS number"
        )
        # Each row takes a millisecond longer: all of them in one statement would take 8 seconds, and the timeout is 4.
        connection.execute(
            "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); "
            "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$"
        )
        connection.execute("CREATE TRIGGER slow BEFORE UPDATE ON valetkey_grants FOR EACH ROW EXECUTE FUNCTION delay()")

    deployment.run("revoke-all", "--yes")

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM valetkey_grants WHERE revoked_at IS NULL").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM valetkey_refresh_tokens").fetchone() == (0,)
