"""``valetkey audit`` and the tables of other commands show counts, and escape what a terminal would obey."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.clock import NOW
from tests.support.program import Program
from tests.support.valetkey_server import Deployment
from valetkey.activity.audit import audit_statement
from valetkey.cli.printing import print_result, print_table
from valetkey.storage import audit
from valetkey.storage.audit import AuditRow
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import Transaction

HOSTILE = "Shop\x1b[2K\r\n2026-01-01 forged\u202e\x9b"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    return deployment


def test_the_audit_log_shows_counts_and_escapes_values(deployment: Deployment) -> None:
    store = open_store(f"sqlite:///{deployment.data_dir / 'valetkey.db'}")
    counted = AuditRow(NOW, "sign_in.failed", address="192.0.2.1", count=3)
    store.write(Transaction(rows=(audit_statement("session.started", NOW, owner=HOSTILE), audit.add_count(counted))))
    store.close()

    lines = deployment.run("audit", "tail", "--last", "2").splitlines()

    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert lines[1].endswith("address=192.0.2.1  count=3")
    exported = [json.loads(line) for line in deployment.run("audit", "export").splitlines()]
    assert exported[-1]["count"] == 3 and "count" not in exported[-2]


def test_following_the_audit_log_shows_a_count_again_when_it_has_grown(deployment: Deployment) -> None:
    store = open_store(f"sqlite:///{deployment.data_dir / 'valetkey.db'}")
    row = AuditRow(time.time() // 60 * 60, "sign_in.failed", address="192.0.2.1", count=2)
    store.write(Transaction(rows=(audit.add_count(row),)))
    log = deployment.data_dir / "follow.log"
    program = Program(
        deployment.command("audit", "tail", "-f"),
        log=log,
        is_ready=lambda: "count=2" in log.read_text(),
        environment={**deployment.environment, "PYTHONUNBUFFERED": "1"},
        cwd=deployment.data_dir,
    )
    try:
        store.write(Transaction(rows=(audit.add_count(row),)))
        _wait_for("count=4", program)
        assert program.log.count("sign_in.failed") == 2 and "count=4" in program.log
    finally:
        program.kill()
        store.close()


def test_following_the_audit_log_shows_an_entry_that_commits_after_later_ones(
    tmp_path: Path, postgresql_url: str
) -> None:
    deployment = Deployment(tmp_path, settings={"database_url": postgresql_url})
    deployment.run("init")
    insert = "INSERT INTO valetkey_audit (at, event) VALUES (1900000000, %s)"
    log = tmp_path / "follow.log"
    with psycopg.connect(postgresql_url) as slow, psycopg.connect(postgresql_url, autocommit=True) as fast:
        fast.execute(insert, ("before",))
        program = Program(
            deployment.command("audit", "tail", "-f", "--last", "1"),
            log=log,
            is_ready=lambda: "before" in log.read_text(),
            environment={**deployment.environment, "PYTHONUNBUFFERED": "1"},
            cwd=tmp_path,
        )
        try:
            slow.execute(insert, ("slow",))
            fast.execute(insert, ("fast",))
            _wait_for("fast", program)
            slow.commit()
            fast.execute(insert, ("last",))
            _wait_for("last", program)
            events = [line.split()[2] for line in program.log.splitlines()]
        finally:
            program.kill()

    assert events[:2] == ["before", "fast"]
    assert sorted(events[2:]) == ["last", "slow"]


def _wait_for(text: str, program: Program) -> None:
    deadline = time.monotonic() + 20
    while text not in program.log and time.monotonic() < deadline:
        time.sleep(0.1)


def test_tables_and_results_of_commands_escape_values(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": HOSTILE, "scopes": [HOSTILE]}], ("name", "scopes"), False, empty_message="none")
    print_result({"name": HOSTILE, "uris": [HOSTILE]}, False)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.isprintable() for line in lines)
