"""An operator restores PostgreSQL with `pg_restore` and runs `valetkey revoke-all`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.app import ENCRYPTION_KEY
from tests.support.database import execute, fetch_rows, upgrade_to
from tests.support.postgres import PostgreSQLServer, find_postgresql_binaries
from tests.support.readme_blocks import find_blocks, read_page
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.storage.schema import HEAD_REVISION

EXAMPLE_URL = "postgresql://valetkey@db.example/valetkey_restored"

TOKEN_REQUEST = {"grant_type": "client_credentials"}


def run_documented_restore(deployment: Deployment, url: str) -> tuple[Deployment, str]:
    """Restore ``valetkey.dump`` with the commands in docs/backup.md.

    :param url: the URL of the database that was dumped.
    :returns: the deployment with the restored database, and the output of the commands.
    """
    _, restore_commands = find_blocks("Restore PostgreSQL", "sh", read_page("backup.md"))
    name = f"{url.rpartition('/')[2]}_restored"
    script = restore_commands.replace(EXAMPLE_URL, f"{url}_restored").replace("valetkey_restored", name)
    assert f"export VALETKEY_DATABASE_URL={url}_restored\n" in script
    valetkey = f'valetkey() {{ "{sys.executable}" -m valetkey "$@"; }}\n'
    completed = subprocess.run(
        ["sh", "-e", "-c", valetkey + script],
        input="y\n",  # for the question of revoke-all
        capture_output=True,
        text=True,
        env={**deployment.environment, "PATH": f"{find_postgresql_binaries()}:{os.environ['PATH']}"},
        cwd=deployment.data_dir,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    restored = replace(deployment, settings={**deployment.settings, "database_url": f"{url}_restored"})
    return restored, completed.stdout


def run_documented_dump(deployment: Deployment) -> Path:
    """Write ``valetkey.dump`` with the commands in docs/backup.md, and return its path."""
    commands, _ = find_blocks("Restore PostgreSQL", "sh", read_page("backup.md"))
    path = f"{find_postgresql_binaries()}:{os.environ['PATH']}"
    environment = {**deployment.environment, "PATH": path}
    subprocess.run(["sh", "-e", "-c", commands], env=environment, cwd=deployment.data_dir, check=True)
    return deployment.data_dir / "valetkey.dump"


@pytest.fixture
def url(postgresql: PostgreSQLServer) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgresql.create_database()


def test_a_token_that_was_revoked_after_the_dump_is_refused_after_the_restore(url: str, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": url, "encryption_keys": ENCRYPTION_KEY})
    deployment.run("init")
    client = deployment.create_client("machine")
    auth = (client["client_id"], client["client_secret"])
    with RunningServer(deployment) as server:
        token = httpx.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth).json()["access_token"]
        dump = run_documented_dump(deployment)
        assert stat.S_IMODE(dump.stat().st_mode) == 0o600
        assert httpx.post(f"{server.url}/oauth/revoke", data={"token": token}, auth=auth).status_code == 200
        server.stop()

    restored, output = run_documented_restore(deployment, url)

    assert "All sessions have ended and all tokens are revoked." in output
    with RunningServer(restored) as server:
        introspected = httpx.post(f"{server.url}/oauth/introspect", data={"token": token}, auth=auth)
        assert introspected.json() == {"active": False}
        assert httpx.post(f"{server.url}/oauth/token", data=TOKEN_REQUEST, auth=auth).status_code == 200
        assert "tokens.all_revoked" in restored.run("audit", "tail")


def test_a_dump_of_an_older_schema_is_restored_as_documented(url: str, tmp_path: Path) -> None:
    upgrade_to(url, "0004")
    names = "sub, email, name, claims, created_at"
    execute(url, f"INSERT INTO valetkey_accounts ({names}) VALUES ('ada', 'ada@example.org', 'Ada', '{{}}', 7)")
    deployment = Deployment(tmp_path, settings={"database_url": url, "encryption_keys": ENCRYPTION_KEY})
    subprocess.run(
        [find_postgresql_binaries() / "pg_dump", "--format=custom", f"--file={tmp_path / 'valetkey.dump'}", url],
        check=True,
    )
    deployment.run("init")
    execute(url, "INSERT INTO valetkey_provider_links (subject, issuer, sub, linked_at) VALUES ('1', 'i', 'ada', 8)")

    restored, output = run_documented_restore(deployment, url)

    assert f"The schema is {HEAD_REVISION}, it was 0004." in output
    assert fetch_rows(str(restored.settings["database_url"]), "SELECT sub FROM valetkey_accounts") == [("ada",)]
    assert fetch_rows(str(restored.settings["database_url"]), "SELECT sub FROM valetkey_provider_links") == []
    assert fetch_rows(url, "SELECT sub FROM valetkey_provider_links") == [("ada",)], "the old database is unchanged"


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
