"""The operator finds jobs that failed for good, retries or drops them; a job of an older version stops nothing."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.database import execute, fetch_rows
from tests.support.form import parse_forms
from tests.support.program import Program
from tests.support.smtp_server import SmtpServer
from tests.support.valetkey_server import Deployment, RunningServer

HOSTILE_ADDRESS = "=?utf-8?q?a=0Abcc=3Ax?=@example.org"
SECRET = "https://id.example/account/mail/vk_ml_secret"


@pytest.fixture
def mail_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def deployment(tmp_path: Path, database_url: str, mail_server: SmtpServer) -> Deployment:
    deployment = Deployment(tmp_path, settings={"database_url": database_url, "mail_url": mail_server.url})
    deployment.run("init")
    return deployment


def add_job(
    deployment: Deployment,
    job_id: str,
    payload: object,
    *,
    attempts: int = 0,
    is_parked: bool = False,
    kind: str = "mail",
) -> None:
    text = (payload if isinstance(payload, str) else json.dumps(payload)).replace("'", "''")
    parked_at, problem = (str(time.time()), "'no such mailbox'") if is_parked else ("NULL", "NULL")
    columns = "job_id, kind, payload, due_at, attempts, failed_at, problem"
    values = f"'{job_id}', '{kind}', '{text}', {time.time() - 1000}, {attempts}, {parked_at}, {problem}"
    execute(deployment.settings["database_url"], f"INSERT INTO valetkey_outbox ({columns}) VALUES ({values})")


def run_refused(deployment: Deployment, *arguments: str) -> str:
    completed = subprocess.run(
        deployment.command(*arguments), capture_output=True, text=True, env=deployment.environment, check=False
    )
    assert completed.returncode != 0
    assert "Traceback" not in completed.stderr
    return completed.stderr


def request_sign_up(server: RunningServer, email: str) -> None:
    with httpx.Client() as http:
        url = f"{server.url}/account/sign-up"
        (form,) = (form for form in parse_forms(http.get(url).text) if form.has_field("email"))
        http.post(url, data=dict(form.fill_in({"name": "Maya", "email": email}, "sign-up")))


def test_the_operator_lists_retries_and_drops_parked_jobs(deployment: Deployment, mail_server: SmtpServer) -> None:
    assert deployment.run("outbox", "list") == "The outbox is empty.\n"
    assert "parked" not in deployment.run("check")
    mail = {"subject": "A link", "text": SECRET}
    add_job(deployment, "one", {"to": "ada@example.org", **mail}, attempts=7, is_parked=True)
    add_job(deployment, "two", {"to": "a\x1b[2J\n@example.org", **mail}, attempts=7, is_parked=True)
    add_job(deployment, "three", "nonsense", attempts=7, is_parked=True)

    listed, as_json = deployment.run("outbox", "list"), deployment.run("outbox", "list", "--json")

    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["one", "two", "three"]
    assert "\x1b" not in listed
    assert SECRET not in listed + as_json
    assert {job["state"] for job in json.loads(as_json)} == {"parked"}
    checked = deployment.run("check")
    assert "parked background jobs: 3" in checked
    assert "no worker runs" not in checked

    assert deployment.run("outbox", "retry", "one") == "1 job will be run again.\n"
    assert "background jobs wait, because no worker runs: 1" not in deployment.run("check"), "it is due only now"
    assert deployment.run("work", "--once") == "1 jobs done\n"
    assert [mail.recipients for mail in mail_server.received] == [["ada@example.org"]]
    assert deployment.run("outbox", "drop", "two") == "1 job deleted.\n"
    assert deployment.run("outbox", "retry", "--all") == "1 job will be run again.\n"
    assert deployment.run("outbox", "retry", "--all") == "0 jobs will be run again.\n"
    assert deployment.run("outbox", "drop", "three") == "1 job deleted.\n"
    assert deployment.run("outbox", "list") == "The outbox is empty.\n"


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_job_that_does_not_exist_is_a_sentence_and_changes_nothing(deployment: Deployment, command: str) -> None:
    add_job(deployment, "one", "{}", attempts=7, is_parked=True)

    assert run_refused(deployment, "outbox", command, "one", "two") == (
        "Error: unknown job two; see `valetkey outbox list`\n"
    )
    assert "pass the ids of jobs, or --all" in run_refused(deployment, "outbox", command)
    assert "pass the ids of jobs, or --all" in run_refused(deployment, "outbox", command, "one", "--all")
    assert fetch_rows(deployment.settings["database_url"], "SELECT attempts FROM valetkey_outbox") == [(7,)]


def test_check_reports_jobs_that_no_worker_runs(deployment: Deployment) -> None:
    add_job(deployment, "one", "{}")

    assert "background jobs wait, because no worker runs: 1" in deployment.run("check")


def test_work_once_reports_failed_jobs_with_status_1_and_another_worker(deployment: Deployment) -> None:
    add_job(deployment, "one", "nonsense")

    assert run_refused(deployment, "work", "--once").endswith(
        "Error: attempts that failed and are repeated later: 1; see `valetkey outbox list`\n"
    )
    assert deployment.run("work", "--once") == "0 jobs done\n", "the first command has released its lease"

    columns, url = "name, holder, until", deployment.settings["database_url"]
    execute(url, f"INSERT INTO valetkey_leases ({columns}) VALUES ('worker', 'other', {time.time() + 14})")
    assert deployment.run("work", "--once") == (
        "0 jobs done: another worker is running, and runs the jobs that are due\n"
    )


def test_after_an_upgrade_a_job_that_stopped_the_worker_before_stops_nothing(
    deployment: Deployment, mail_server: SmtpServer
) -> None:
    """The job is in the table when the server starts; then somebody signs up, and expired rows are deleted."""
    payload = {"purpose": "sign_up", "email": HOSTILE_ADDRESS, "name": "", "next": "", "at": time.time()}
    add_job(deployment, "poison", payload, attempts=2, kind="account_mail")
    add_job(deployment, "broken", "{", attempts=1, kind="backchannel_logout")
    url, query = deployment.settings["database_url"], "SELECT job_id, attempts, failed_at FROM valetkey_outbox"
    columns = "name, holder, until"
    execute(url, f"INSERT INTO valetkey_leases ({columns}) VALUES ('worker', 'stopped', {time.time() - 1})")
    add_job(deployment, "old", "{}")
    execute(url, "UPDATE valetkey_outbox SET failed_at = 1 WHERE job_id = 'old'")

    with RunningServer(deployment) as server:
        for email in (HOSTILE_ADDRESS, "maya@example.com"):
            request_sign_up(server, email)
        deadline = time.monotonic() + 20
        while True:
            rows = {row[0]: row[1:] for row in fetch_rows(url, query)}
            if (mail_server.received and len(rows) == 2) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        log = server.log

    assert [mail.recipients for mail in mail_server.received] == [["maya@example.com"]]
    assert rows.keys() == {"poison", "broken"}, "old rows are deleted"
    assert rows["poison"][0] == 3
    assert rows["poison"][1] is not None, "no mail can ever be sent to it"
    assert rows["broken"] == (2, None)
    assert "Traceback" not in log
    assert "poison" in deployment.run("outbox", "list")


def test_a_second_ctrl_c_ends_a_worker_that_a_mail_server_delays(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        mail_url = f"smtp://127.0.0.1:{silent_server.getsockname()[1]}"
        deployment = Deployment(tmp_path, settings={"mail_url": mail_url})
        deployment.run("init")
        deployment.settings["database_url"] = f"sqlite:///{tmp_path / 'valetkey.db'}"
        add_job(deployment, "slow", {"to": "ada@example.org", "subject": "Hello", "text": "Hello"})
        worker = Program(
            deployment.command("work"),
            log=tmp_path / "work.log",
            is_ready=lambda: bool(select.select([silent_server], [], [], 0)[0]),
            environment=deployment.environment,
            cwd=tmp_path,
            stop_signal=signal.SIGINT,
        )
        try:
            os.kill(worker.pid, signal.SIGINT)
            _wait_until_default(signal.SIGINT, worker.pid)
            assert worker.is_running()

            assert worker.stop(timeout_s=5) == -signal.SIGINT
        finally:
            worker.kill()

    (job,) = json.loads(deployment.run("outbox", "list", "--json"))
    assert (job["state"], job["attempts"]) == ("waiting", 1)


def _wait_until_default(signal_number: int, pid: int) -> None:
    """Wait until a process has no handler for a signal any more."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        (caught,) = re.findall(r"^SigCgt:\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if not int(caught, 16) >> (signal_number - 1) & 1:
            return
        time.sleep(0.02)
