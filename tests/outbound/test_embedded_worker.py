"""The worker thread: at most one in a server process, none if ``embedded_worker`` is false, none in a command."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.support.app import MakeApp
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.cli import main
from valetkey.runtime import Runtime

APP = """
import flask, valetkey
app = flask.Flask("shop")
valetkey.Valetkey(app)
app.extensions["valetkey"].get_ready()
"""
FORK = """
import os, signal, sys, threading
import flask, valetkey

app = flask.Flask("shop")
valetkey.Valetkey(app, issuer="http://127.0.0.1:8000", data_dir=sys.argv[1], env_prefix=None)
runtime = app.extensions["valetkey"]
runtime.get_ready()
runtime._ready_lock.acquire()  # as if another thread were in get_ready at the fork
if not (child := os.fork()):
    signal.alarm(20)
    app.test_client().get("/oauth/userinfo")
    print([thread.name for thread in threading.enumerate() if thread.name == "valetkey-worker"], flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


WorkerThreads = Callable[[], list[threading.Thread]]


@pytest.fixture
def worker_threads() -> WorkerThreads:
    """Return a function that returns the workers of this test; other tests may not have ended theirs."""
    before = set(threading.enumerate())
    return lambda: [t for t in threading.enumerate() if t.name == "valetkey-worker" and t not in before]


def test_a_process_has_one_worker_and_none_after_its_end(
    make_app: MakeApp, sqlite_store_url: str, worker_threads: WorkerThreads
) -> None:
    runtime: Runtime = make_app(sqlite_store_url, embedded_worker=True).extensions["valetkey"]

    runtime.worker_thread.ensure_running()
    runtime.get_ready()

    assert len(worker_threads()) == 1
    runtime.close()
    assert worker_threads() == []


def test_a_process_has_no_worker_if_the_setting_is_false(
    make_app: MakeApp, sqlite_store_url: str, worker_threads: WorkerThreads
) -> None:
    runtime: Runtime = make_app(sqlite_store_url, embedded_worker=False).extensions["valetkey"]

    runtime.worker_thread.ensure_running()
    runtime.get_ready()

    assert worker_threads() == []


@pytest.mark.parametrize("app", ["", APP])
def test_a_command_has_no_worker_even_if_the_setting_is_true(
    app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_threads: WorkerThreads
) -> None:
    monkeypatch.setenv("VALETKEY_EMBEDDED_WORKER", "true")
    Deployment(tmp_path).run("init")
    found = []
    monkeypatch.setattr("valetkey.cli.plans.click.echo", lambda _: found.append(worker_threads()))
    (tmp_path / "shop.py").write_text(app)

    arguments = ["--app", str(tmp_path / "shop.py")] if app else []
    result = CliRunner().invoke(main, [*arguments, "--data-dir", str(tmp_path), "plans", "list"])

    assert result.exception is None, result.output
    assert found and not any(found)


@pytest.mark.parametrize("app", ["", APP])
@pytest.mark.parametrize(("setting", "state"), [({}, "ok"), ({"embedded_worker": False}, "none")])
def test_serve_has_a_worker_unless_the_setting_is_false(
    setting: dict[str, bool], state: str, app: str, tmp_path: Path
) -> None:
    """The processes of the server are forked from the command, which has loaded the app."""
    (tmp_path / "shop.py").write_text(app)
    deployment = Deployment(tmp_path, settings=setting, app=tmp_path / "shop.py" if app else None)
    deployment.run("init")

    with RunningServer(deployment) as server:
        deadline = time.monotonic() + (10 if state == "ok" else 2)
        while (found := httpx.get(f"{server.url}/readyz").json()["checks"]["worker"]) != "ok":
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)

    assert found == state


def test_a_process_that_was_forked_from_one_with_a_worker_has_its_own(tmp_path: Path) -> None:
    """The workers of ``gunicorn --preload`` are forked from the process that has loaded the app."""
    finished = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (finished.returncode, finished.stdout) == (0, "['valetkey-worker']\n"), finished.stderr
