"""The processes of ``valetkey serve`` end together: if the first one is killed, and at a second Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.valetkey_server import Deployment, RunningServer

APP = """
import time
from flask import Flask
from valetkey import Valetkey, public

app = Flask(__name__)
Valetkey(app, scopes={"profile": "See your name"})


@app.get("/api/stream")
@public
def stream():
    def generate():
        for _ in range(600):
            yield "x" * 1000
            time.sleep(0.1)
    return generate()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    (tmp_path / "app.py").write_text(APP)
    deployment = Deployment(tmp_path, app=tmp_path / "app.py")
    deployment.run("init")
    with RunningServer(deployment, workers=2) as running:
        yield running


def find_workers(server: RunningServer) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Return whether a process runs; one whose exit code was not read has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_until_ended(pids: list[int], timeout_s: float) -> float:
    """Wait until processes have ended. Return how long that took."""
    began = time.monotonic()
    while any(map(is_running, pids)):
        assert time.monotonic() - began < timeout_s, "a process still runs"
        time.sleep(0.05)
    return time.monotonic() - began


def open_stream(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def test_workers_end_if_the_first_process_is_killed(server: RunningServer) -> None:
    workers = find_workers(server)
    assert len(workers) == 2

    os.kill(server.pid, signal.SIGKILL)

    wait_until_ended(workers, 10)


def test_workers_end_after_the_first_process_even_while_they_stream(server: RunningServer) -> None:
    workers = find_workers(server)
    with open_stream(server.port):
        os.kill(server.pid, signal.SIGKILL)

        wait_until_ended(workers, 30)


def test_a_second_interrupt_ends_all_processes_at_once(server: RunningServer) -> None:
    pids = [server.pid, *find_workers(server)]
    with open_stream(server.port):
        os.kill(server.pid, signal.SIGINT)
        time.sleep(1.5)  # the stream goes on: requests in progress have 10 seconds
        assert is_running(server.pid)

        os.kill(server.pid, signal.SIGINT)

        assert wait_until_ended(pids, 10) < 5
