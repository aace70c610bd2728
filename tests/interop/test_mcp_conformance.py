"""The conformance suite of the Model Context Protocol, with all its scenarios for authorization servers.

If the metadata lists the authentication method ``none``, the suite uses it for every client, even one with a secret: so
the tests use public clients. Its scenarios for MCP servers and MCP clients have none with a token of another issuer.
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


@pytest.fixture(scope="module", params=["open", "closed"])
def tested_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server with open registration, and one on which only the operator creates clients."""
    closed_settings = {"registration_policy": "closed", "metadata_document_clients": "approve"}
    deployment = Deployment(
        tmp_path_factory.mktemp("tested"), settings={} if request.param == "open" else closed_settings
    )
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


def test_every_authorization_scenario_of_the_suite_is_run() -> None:
    listed = subprocess.run(
        [*_suite_command(), "list", "--authorization"], capture_output=True, text=True, check=True
    ).stdout

    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  - ")] == SCENARIOS


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("policy", ["native", "browser"])
def test_all_scenarios_pass(tested_server: RunningServer, maya: User, policy: str, revision: str) -> None:
    port = free_port()
    created = tested_server.deployment.create_client(policy, redirect_uris=[f"http://127.0.0.1:{port}/callback"])
    client_options = ["--client-id", created["client_id"], "--resource", tested_server.issuer, "--port", str(port)]

    output = _run_suite(["--url", tested_server.issuer, *client_options, "--spec-version", revision], maya)

    for scenario in SCENARIOS:
        assert f"{scenario}:" in output
    assert ", 0 failed" in output
    assert "SKIPPED" not in output


def _run_suite(arguments: list[str], user: User) -> str:
    """Run the suite while the user visits the URLs that it prints; return its output. Its exit code must be 0."""
    lines = []
    with subprocess.Popen(
        [*_suite_command(), "authorization", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("http") and "/authorize?" in line:
                httpx.get(user.allow(line.strip()))
    assert process.returncode == 0, "".join(lines)
    return "".join(lines)


def _suite_command() -> list[str]:
    """Return the command of the suite; it needs Node 22, which is one of the Node packages.

    :raises NotInstalled: if the Node packages are missing
    """
    node: Path = NODE_DIR / "node_modules" / ".bin" / "node"
    program = NODE_DIR / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    if not node.exists() or not program.exists():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    return [str(node), str(program)]
