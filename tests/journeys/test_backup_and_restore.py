"""An operator backs up a served SQLite database, stops the server and restores the backup."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.valetkey_server import Deployment, RunningServer


@contextmanager
def traffic(server: RunningServer, auth: tuple[str, str]) -> Iterator[list[str]]:
    """Context manager in which four threads obtain tokens; yields the list of the access tokens."""
    tokens: list[str] = []
    stop = threading.Event()

    def obtain_tokens() -> None:
        with httpx.Client(base_url=server.url) as http:
            while not stop.is_set():
                response = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
                if response.status_code == 200:
                    tokens.append(response.json()["access_token"])

    threads = [threading.Thread(target=obtain_tokens) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield tokens
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_backup_under_traffic_is_restored_after_the_server_was_stopped(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "var")
    deployment.data_dir.mkdir()
    deployment.run("init")
    client = deployment.create_client("machine")
    auth, backup = (client["client_id"], client["client_secret"]), tmp_path / "backup.db"
    with RunningServer(deployment, workers=2) as server:
        with traffic(server, auth) as tokens:
            deployment.run("backup", str(backup))
            later = deployment.create_client("machine", name="Later")
        assert tokens
        with pytest.raises(AssertionError, match="a server or another process uses the database"):
            deployment.run("restore", str(backup), "--yes")
        assert httpx.post(f"{server.url}/oauth/introspect", data={"token": tokens[-1]}, auth=auth).json()["active"]
        assert server.stop() == 0
        assert "Traceback" not in server.log
    assert sorted(file.name for file in deployment.data_dir.glob("*-wal")) == []

    deployment.run("restore", str(backup), "--yes")

    assert later["client_id"] not in deployment.run("clients", "list")
    with RunningServer(deployment, workers=2) as server:
        for token in (tokens[0], tokens[-1]):
            response = httpx.post(f"{server.url}/oauth/introspect", data={"token": token}, auth=auth)
            assert response.json() == {"active": False}
        renewed = httpx.post(f"{server.url}/oauth/token", data={"grant_type": "client_credentials"}, auth=auth)
        assert renewed.status_code == 200
        server.kill()
    assert (deployment.data_dir / "valetkey.db-wal").exists()  # a killed server leaves its log

    deployment.run("restore", str(backup), "--yes")

    assert [file.name for file in deployment.data_dir.glob("*-wal")] == []
    assert len(list(deployment.data_dir.glob("valetkey.db.replaced-*"))) == 2
