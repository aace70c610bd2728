"""README, "Get started in five minutes": from an app's file to an authorized call of its route, with limits.

What is counted: commands are the lines to type in an activated virtual environment, including the installation (a
command that the server prints is pasted, or /docs is opened instead). Lines are the program's lines that are not blank.
Concepts are the names that the program imports from Valetkey, and the keyword arguments of their calls. Seconds run
from the second command to the response of the call, in an environment in which the first command was run before,
because downloads are not Valetkey's time.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.journeys.checkout import PROJECT_DIR, Checkout, activated_environment, search_log
from tests.support.program import Program
from tests.support.readme_blocks import FIVE_MINUTES_COMMANDS, FIVE_MINUTES_PROGRAMS

INSTALL, SERVE = "".join(FIVE_MINUTES_COMMANDS).splitlines()
MAX_COMMANDS, MAX_LINES, MAX_CONCEPTS, MAX_DURATION_S = 2, 8, 3, 60


def test_two_commands_and_eight_lines_of_code_are_enough() -> None:
    commands = "".join(FIVE_MINUTES_COMMANDS).splitlines()
    lines = [line for line in "".join(FIVE_MINUTES_PROGRAMS).splitlines() if line.strip()]

    assert len(commands) <= MAX_COMMANDS, commands
    assert len(lines) <= MAX_LINES, lines


def test_three_concepts_are_enough() -> None:
    # an app, a scope, a protected route
    assert find_concepts(FIVE_MINUTES_PROGRAMS[0]) == {"Valetkey", "scopes", "require_oauth"}
    assert len(find_concepts(FIVE_MINUTES_PROGRAMS[0])) <= MAX_CONCEPTS


def test_the_commands_end_in_an_authorized_call_of_the_programs_route(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / "app.py").write_text(FIVE_MINUTES_PROGRAMS[0])
    started_at = time.monotonic()
    server = serve(checkout, SERVE)
    try:
        url = f"http://127.0.0.1:{checkout.port}/api/notes"
        output = run_printed_login_command(checkout, server.log)
        duration_s = time.monotonic() - started_at

        assert json.loads(output) == {"notes": ["Buy milk"]}
        assert duration_s <= MAX_DURATION_S, duration_s
        refused = httpx.get(url)
        assert refused.status_code == 401
        assert 'scope="notes:read"' in refused.headers["WWW-Authenticate"]
        assert "an access token is required" in refused.text
    finally:
        server.kill()


def test_the_call_can_be_sent_from_the_reference_in_the_browser(tmp_path: Path, page: Page) -> None:
    """Two commands are typed and nothing is pasted; everything else is clicked."""
    checkout = Checkout(tmp_path)
    (tmp_path / "app.py").write_text(FIVE_MINUTES_PROGRAMS[0])
    started_at = time.monotonic()
    server = serve(checkout, SERVE)
    try:
        email, password = search_log(server.log, r"User:\s+(\S+)\s+password: (\S+)")
        page.goto(f"http://127.0.0.1:{checkout.port}/docs")
        page.click("#authorize")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(password)
        page.click("#sign-in")
        page.click("#allow")
        expect(page.locator("#authorized-words")).to_contain_text("notes:read")
        operation = page.locator("#op-notes-try")
        operation.get_by_role("button").click()
        expect(operation.locator(".result .status")).to_have_text("200")
        duration_s = time.monotonic() - started_at

        expect(operation.locator(".result pre")).to_contain_text("Buy milk")
        assert duration_s <= MAX_DURATION_S, duration_s
    finally:
        server.kill()


def test_the_first_command_installs_the_package() -> None:
    assert INSTALL == "pip install ."  # not run here: it needs the package index

    assert (Path(sys.prefix) / "bin" / "valetkey").exists()


def find_concepts(program: str) -> set[str]:
    """Return the names that a program imports from Valetkey, and the keyword arguments of their calls."""
    nodes = list(ast.walk(ast.parse(program)))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "valetkey"]
    names = {alias.name for node in imports for alias in node.names}
    calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names]
    return names | {str(keyword.arg) for call in calls for keyword in call.keywords}


def serve(checkout: Checkout, command: str) -> Program:
    """Run the README's command on the port of the checkout, and wait until the API responds."""

    def is_ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{checkout.port}/api/notes", timeout=5).status_code == 401
        except httpx.TransportError:
            return False

    shell_command = ["bash", "-c", f"exec {command} --port {checkout.port}"]
    log = checkout.folder / "log"
    environment = activated_environment()
    return Program(shell_command, log=log, is_ready=is_ready, environment=environment, cwd=checkout.folder)


def run_printed_login_command(checkout: Checkout, log: str) -> str:
    """Run the `valetkey login` command that the server printed, with a browser that signs in, and return its output."""
    line = next(line.strip() for line in log.splitlines() if " login --issuer " in line)
    email, password = search_log(log, r"User:\s+(\S+)\s+password: (\S+)")
    browser = f"{sys.executable} -m tests.journeys.browser_command %s &"
    user = {"EMAIL": email, "PASSWORD": password, "BROWSER": browser}
    path = f"{PROJECT_DIR}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = activated_environment() | user | {"PYTHONPATH": path}
    process = subprocess.run(
        ["bash", "-c", line],
        cwd=checkout.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout
