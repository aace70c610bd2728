"""The reference of a refusal is in the log of every server, as text and as JSON, and each record is there once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer
from tests.support.wsgi_servers import PLAIN_APP, SERVERS, served_app

RESOURCE_SERVER_APP = """
from flask import Flask
from valetkey import ResourceServer, require_oauth

app = Flask(__name__)
ResourceServer(app, trusted_issuers=["https://login.example"], resource="https://api.example")
app.get("/host/view", endpoint="host")(lambda: "the host's own")
app.get("/api/protected", endpoint="protected")(require_oauth("profile")(lambda: "protected"))
"""
HOST_LOGGING = """
import logging
logging.basicConfig(level="INFO", format="host %(levelname)s %(message)s")
"""


@contextmanager
def serve(name: str, folder: Path, settings: dict[str, str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Serve an app; the context is its URL and a function that returns the log."""
    if name == "valetkey serve":
        deployment = Deployment(folder, app=LIMITED_API_FILE, settings=settings)
        with RunningServer(deployment) as running:
            yield running.url, lambda: running.log
        return
    environment = {f"VALETKEY_{setting.upper()}": value for setting, value in settings.items()}
    with served_app(name, PLAIN_APP, environment) as served:
        yield served.url, lambda: served.log


def refuse(url: str) -> list[str]:
    """Send a request that the guard refuses, and one that the token endpoint refuses. Return their references."""
    call = httpx.get(f"{url}/api/protected", headers={"Authorization": "Bearer x"}, timeout=30)
    request = httpx.post(f"{url}/oauth/token", data={"grant_type": "x", "client_id": "a\nb"}, timeout=30)
    assert (call.status_code, request.status_code) == (401, 401)
    return [call.json()["reference"], request.headers["Valetkey-Reference"]]


@pytest.mark.parametrize("name", [*SERVERS, "valetkey serve"])
def test_the_reference_of_a_refusal_is_once_in_the_log(name: str, tmp_path: Path) -> None:
    with serve(name, tmp_path, {"issuer": "http://127.0.0.1:8000"}) as (url, read_log):
        references = refuse(url)
        log = read_log()

    lines = [[line for line in log.splitlines() if f"[{reference}]" in line] for reference in references]
    assert [len(found) for found in lines] == [1, 1], log
    assert re.search(r"INFO valetkey: refused invalid_token at /api/protected: ", lines[0][0])
    assert re.search(r'client_id="a\\{1,2}nb" network=127.0.0.1', lines[1][0].replace('\\"', '"')), lines[1][0]


@pytest.mark.parametrize("name", [*SERVERS, "valetkey serve"])
def test_each_record_is_a_json_object_in_one_line(name: str, tmp_path: Path) -> None:
    with serve(name, tmp_path, {"issuer": "http://127.0.0.1:8000", "log_format": "json"}) as (url, read_log):
        references = refuse(url)
        log = read_log()

    if name == "apache":  # it writes each backslash twice
        log = log.replace(2 * "\\", "\\")
    records = [json.loads(line[line.index('{"time"') :]) for line in log.splitlines() if '{"time"' in line]
    by_reference = {record["reference"]: record for record in records}
    assert [by_reference[reference]["network"] for reference in references] == ["127.0.0.1"] * 2
    assert by_reference[references[1]]["client_id"] == r"a\nb"
    assert [record["logger"] for record in records] == ["valetkey"] * len(records)


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
@pytest.mark.parametrize("app", [HOST_LOGGING + PLAIN_APP, PLAIN_APP + HOST_LOGGING], ids=["before", "after"])
def test_a_host_that_sets_up_logging_has_each_record_once_in_its_own_format(name: str, app: str) -> None:
    with served_app(name, app, {"VALETKEY_ISSUER": "http://127.0.0.1:8000"}) as served:
        references = refuse(served.url)
        log = served.log

    for reference in references:
        [line] = [line for line in log.splitlines() if reference in line]
        assert "host INFO refused" in line


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
def test_a_level_hides_refusals_and_a_resource_server_has_the_same_settings(name: str) -> None:
    with served_app(name, RESOURCE_SERVER_APP, {}) as served:
        refused = httpx.get(f"{served.url}/api/protected", timeout=30)
        assert f"[{refused.json()['reference']}] network=127.0.0.1" in served.log
    with served_app(name, RESOURCE_SERVER_APP, {"VALETKEY_LOG_LEVEL": "warning"}) as served:
        refused = httpx.get(f"{served.url}/api/protected", timeout=30)
        assert refused.json()["reference"] not in served.log
