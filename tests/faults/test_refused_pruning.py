"""``valetkey prune`` with a database that refuses to delete the rows of one table: the output says why."""

from __future__ import annotations

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.app import ENCRYPTION_KEY, prepare_database
from tests.support.postgres import PostgreSQLServer
from valetkey.cli import main
from valetkey.storage import sessions
from valetkey.storage.engine.open import open_store

RESTRICT = """
CREATE ROLE without_delete LOGIN;
GRANT ALL ON ALL TABLES IN SCHEMA public TO without_delete;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO without_delete;
REVOKE DELETE ON valetkey_sessions FROM without_delete
"""


def test_the_reason_is_logged_and_is_not_a_missing_app(
    postgresql: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgresql.create_database()
    prepare_database(url)
    store = open_store(url)
    store.write_all(sessions.add(sessions.Session(b"digest", "ada", b"browser", 0.0, 0.0, 1.0, None)))
    store.close()
    with psycopg.connect(url) as connection:
        connection.execute(RESTRICT)
    monkeypatch.setenv("VALETKEY_DATABASE_URL", url.replace("//postgres@", "//without_delete@"))
    monkeypatch.setenv("VALETKEY_ENCRYPTION_KEYS", ENCRYPTION_KEY)

    result = CliRunner().invoke(main, ["prune"])

    assert result.exit_code == 1
    assert result.output.endswith("not pruned, for the reasons above: valetkey_sessions\n")
    assert "pruning valetkey_sessions failed: the PostgreSQL database failed: permission denied for" in caplog.text


@pytest.mark.parametrize(
    ("url", "names_an_app"),
    [("postgresql://postgres@127.0.0.1:1/valetkey", False), ("sqlite:////nowhere/valetkey.db", True)],
)
def test_only_a_missing_database_may_be_due_to_a_missing_app(
    url: str, names_an_app: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALETKEY_DATABASE_URL", url)
    monkeypatch.setenv("VALETKEY_ENCRYPTION_KEYS", ENCRYPTION_KEY)

    result = CliRunner().invoke(main, ["users", "list"])

    assert result.exit_code == 1
    assert ("No app was loaded" in result.output) is names_an_app
