"""The judge of the Model Context Protocol, with all that it asks of an authorization server.

It takes ``none`` for every client where the metadata offers it, also for one that it knows the secret of: so it is
given public clients. Its scenarios for servers and clients of MCP have none that brings a token of somebody else's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.interop.node_program import NODE_DIR
from tests.support.program import NotInstalled, free_port
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer

SCENARIOS = ["authorization-server-metadata-endpoint", "authorization-code-grant"]


@pytest.fixture(scope="module", params=["open", "by its owner"])
def judged(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server where every client may come, and one whose owner makes the clients."""
    closed = {"registration_policy": "closed", "metadata_document_clients": "approve"}
    deployment = Deployment(tmp_path_factory.mktemp("judged"), settings={} if request.param == "open" else closed)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


def test_its_list_has_no_scenario_that_is_not_tried_here() -> None:
    listed = subprocess.run([*_judge(), "list", "--authorization"], capture_output=True, text=True, check=True).stdout

    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  - ")] == SCENARIOS


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("policy", ["native", "browser"])
def test_every_check_passes(judged: RunningServer, maya: User, policy: str, revision: str) -> None:
    port = free_port()
    made = judged.deployment.create_client(policy, redirect_uris=[f"http://127.0.0.1:{port}/callback"])
    client = ["--client-id", made["client_id"], "--resource", judged.issuer, "--port", str(port)]

    told = _judgement(["--url", judged.issuer, *client, "--spec-version", revision], maya)

    for scenario in SCENARIOS:
        assert f"{scenario}:" in told
    assert ", 0 failed" in told
    assert "SKIPPED" not in told


def _judgement(arguments: list[str], person: User) -> str:
    """What it prints, while the person goes where it sends them; its exit code must be 0."""
    lines = []
    with subprocess.Popen(
        [*_judge(), "authorization", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("http") and "/authorize?" in line:
                httpx.get(person.allow(line.strip()))
    assert process.returncode == 0, "".join(lines)
    return "".join(lines)


def _judge() -> list[str]:
    """It needs Node 22, which is a package beside it."""
    node: Path = NODE_DIR / "node_modules" / ".bin" / "node"
    program = NODE_DIR / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    if not node.exists() or not program.exists():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    return [str(node), str(program)]
