"""A worker of ``valetkey serve``: what slow views and streams of the app may hold, and what it does at start."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.valetkey_server import Deployment, RunningServer

APP = """
import gc
import time
from flask import Flask
from valetkey import Valetkey, public

app = Flask(__name__)
Valetkey(app, scopes={"profile": "See your name"})


@app.get("/api/slow/<float:seconds>")
@public
def slow(seconds):
    time.sleep(seconds)
    return "done"


@app.get("/api/stream")
@public
def stream():
    def generate():
        for _ in range(200):
            yield "x" * 1000
            time.sleep(0.1)
    return generate()


@app.get("/api/frozen")
@public
def frozen():
    return {"frozen": gc.get_freeze_count(), "enabled": gc.isenabled()}
"""
THREADS, VIEWS = 8, 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with one worker of 8 threads, so that the app's views hold at most 4."""
    folder = tmp_path_factory.mktemp("threads")
    (folder / "app.py").write_text(APP)
    deployment = Deployment(folder, app=folder / "app.py")
    deployment.run("init")
    with RunningServer(deployment, options=("--threads", str(THREADS))) as running:
        yield running


def open_stream(port: int) -> socket.socket:
    """Begin to read a streamed response, as soon as streams that were left free a slot."""
    deadline = time.monotonic() + 30
    while True:
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status_line = connection.recv(100)
        if status_line.startswith(b"HTTP/1.1 200"):
            return connection
        connection.close()
        assert time.monotonic() < deadline, status_line
        time.sleep(0.2)


def get(server: RunningServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", timeout=30)


def test_while_streams_hold_all_threads_of_views_endpoints_pages_and_health_checks_respond(
    server: RunningServer,
) -> None:
    streams = [open_stream(server.port) for _ in range(VIEWS)]
    try:
        refused = get(server, "/api/slow/0.1")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert refused.json()["reference"]
        with ThreadPoolExecutor(8) as threads:
            refusals = [threads.submit(get, server, "/api/slow/0.1") for _ in range(8)]
            for path in ("/healthz", "/readyz", "/oauth/jwks", "/account/sign-in", "/docs"):
                began = time.monotonic()
                assert get(server, path).is_success, path
                assert time.monotonic() - began < 8
            token = httpx.post(f"{server.url}/oauth/token", data={"grant_type": "client_credentials"}, timeout=30)
            assert token.status_code == 401
            assert {future.result().status_code for future in refusals} == {503}
    finally:
        for stream in streams:
            stream.close()
    assert server.log.count("increase --threads or --workers") == 1


def test_a_stream_that_its_reader_leaves_frees_its_thread(server: RunningServer) -> None:
    for _ in range(3):
        for stream in [open_stream(server.port) for _ in range(VIEWS)]:
            stream.close()
        deadline = time.monotonic() + 20
        while get(server, "/api/slow/0.01").status_code == 503:
            assert time.monotonic() < deadline, "the slots were not released"
            time.sleep(0.2)


def test_more_requests_than_threads_wait_while_views_end(server: RunningServer) -> None:
    time.sleep(3.5)  # longer than slow views may hold all slots; all of them were free meanwhile
    with ThreadPoolExecutor(40) as threads:
        responses = list(threads.map(lambda _: get(server, "/api/slow/0.1"), range(80)))

    assert Counter(response.status_code for response in responses) == {200: 80}


def test_fewer_than_four_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="4<=x<=512"):
        Deployment(tmp_path).run("serve", "--threads", "3")


def test_full_garbage_collections_leave_out_what_was_loaded_at_start(server: RunningServer) -> None:
    state = httpx.get(f"{server.url}/api/frozen").json()

    assert state["frozen"] > 50_000
    assert state["enabled"]
