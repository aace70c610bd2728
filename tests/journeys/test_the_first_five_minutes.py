"""The README's first section, counted: from a file of one's own to an authorized call of one's own route.

What is counted: commands are the lines to type, the installation included (what the server prints is pasted, or /docs
is opened instead). Lines are those of the program that are not blank. Concepts are the names of ours that stand in it,
and what they are given by name. Seconds run from the second command to the answer of the call, in an environment where
the first command was run before: what it takes to download is not ours.
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
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.checkout import PROJECT_DIR, Checkout, search_log
from tests.support.program import Program
from tests.support.readme_blocks import FIVE_MINUTES_COMMANDS, FIVE_MINUTES_PROGRAMS

MOST_COMMANDS, MOST_LINES, MOST_CONCEPTS, MOST_SECONDS = 2, 8, 3, 60


def test_there_is_little_to_type() -> None:
    commands = "".join(FIVE_MINUTES_COMMANDS).splitlines()
    lines = [line for line in "".join(FIVE_MINUTES_PROGRAMS).splitlines() if line.strip()]

    assert len(commands) <= MOST_COMMANDS, commands
    assert len(lines) <= MOST_LINES, lines


def test_there_is_little_to_understand() -> None:
    # an app, a scope, a protected route
    assert concepts(FIVE_MINUTES_PROGRAMS[0]) == {"Valetkey", "scopes", "require_oauth"}
    assert len(concepts(FIVE_MINUTES_PROGRAMS[0])) <= MOST_CONCEPTS


def test_what_stands_there_ends_in_an_authorized_call_of_ones_own_route(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / "app.py").write_text(FIVE_MINUTES_PROGRAMS[0])
    began = time.monotonic()
    server = serve(checkout, FIVE_MINUTES_COMMANDS[0].splitlines()[1])
    try:
        url = f"http://127.0.0.1:{checkout.port}/api/notes"
        answer = paste(checkout, server.log)
        seconds = time.monotonic() - began

        assert json.loads(answer) == {"notes": ["Buy milk"]}
        assert seconds <= MOST_SECONDS, seconds
        refused = httpx.get(url)
        assert refused.status_code == 401
        assert 'scope="notes:read"' in refused.headers["WWW-Authenticate"]
        assert "an access token is required" in refused.text
    finally:
        server.kill()


def test_it_ends_so_in_the_browser_too(tmp_path: Path, page: Page) -> None:
    """Two commands typed, and nothing pasted: the rest is pressed."""
    checkout = Checkout(tmp_path)
    (tmp_path / "app.py").write_text(FIVE_MINUTES_PROGRAMS[0])
    began = time.monotonic()
    server = serve(checkout, FIVE_MINUTES_COMMANDS[0].splitlines()[1])
    try:
        email, password = search_log(server.log, r"User:\s+(\S+)\s+password: (\S+)")
        page.goto(f"http://127.0.0.1:{checkout.port}/docs")
        page.click("#authorize")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(password)
        page.click("#sign-in")
        page.click("#allow")
        expect(page.locator("#authorized-words")).to_contain_text("notes:read")
        mine = page.locator("#op-notes-try")
        mine.get_by_role("button").click()
        expect(mine.locator(".result .status")).to_have_text("200")
        seconds = time.monotonic() - began

        expect(mine.locator(".result pre")).to_contain_text("Buy milk")
        assert seconds <= MOST_SECONDS, seconds
    finally:
        server.kill()


@pytest.mark.parametrize("command", FIVE_MINUTES_COMMANDS[0].splitlines()[:1])
def test_the_first_command_is_what_installed_this_environment(command: str) -> None:
    assert command == "pip install ."  # not run here: it needs the package index

    assert (Path(sys.prefix) / "bin" / "valetkey").exists()


def concepts(program: str) -> set[str]:
    """The names that a program imports from us, and those that it gives us."""
    tree = ast.parse(program)
    imports = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one.module == "valetkey"]
    ours = {name.name for one in imports for name in one.names}
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and getattr(one.func, "id", "") in ours]
    return ours | {str(keyword.arg) for call in calls for keyword in call.keywords}


def serve(checkout: Checkout, command: str) -> Program:
    """Run the command as it stands there, on a port that is free here."""

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{checkout.port}/api/notes", timeout=5).status_code == 401
        except httpx.TransportError:
            return False

    typed = ["bash", "-c", f"exec {command} --port {checkout.port}"]
    log = checkout.folder / "log"
    return Program(typed, log=log, is_ready=answers, environment=at_home(checkout), cwd=checkout.folder)


def paste(checkout: Checkout, log: str) -> str:
    """Run the line that signs a person in, with a browser that does what she would; answer what it prints."""
    line = next(line.strip() for line in log.splitlines() if " login --issuer " in line)
    email, password = search_log(log, r"User:\s+(\S+)\s+password: (\S+)")
    browser = f"{sys.executable} -m tests.journeys.browser_command %s &"
    person = {"EMAIL": email, "PASSWORD": password, "BROWSER": browser}
    path = f"{PROJECT_DIR}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = at_home(checkout) | person | {"PYTHONPATH": path}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=checkout.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_home(checkout: Checkout) -> dict[str, str]:
    """The environment of somebody who has made and entered a virtual environment, and set nothing else."""
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{checkout.environment['PATH']}"
    return checkout.environment | {"PATH": path}
