"""Run ``valetkey`` commands that must fail: with an error message and an exit status, without a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.valetkey_server import Deployment


def run_refused_commands(
    deployment: Deployment, *commands: str, prefix: Sequence[str] = (), cwd: Path | None = None
) -> list[list[str]]:
    """Run ``valetkey`` commands at the same time and return the lines of each error message.

    :param commands: the arguments of each command, separated by blanks. ``serve`` gets the deployment's port.
    :param prefix: words before each command, such as a program that drops its privileges.
    :param cwd: the current directory of the commands; by default the data directory if it exists, else its parent.
    :raises AssertionError: if a command succeeds, prints a traceback, or prints anything except an error message.
    """
    folder = cwd if cwd else deployment.data_dir if deployment.data_dir.is_dir() else deployment.data_dir.parent
    processes = [
        subprocess.Popen(
            [*prefix, *deployment.command(*_arguments(deployment, command))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=deployment.environment,
            cwd=folder,
        )
        for command in commands
    ]
    return [_read_refusal(process) for process in processes]


def refusal_messages(
    deployment: Deployment, *commands: str, prefix: Sequence[str] = (), cwd: Path | None = None
) -> list[str]:
    """Do as ``run_refused_commands`` does and return each error message, which must be a single line."""
    messages = run_refused_commands(deployment, *commands, prefix=prefix, cwd=cwd)
    assert all(len(lines) == 1 for lines in messages), messages
    return [lines[0] for lines in messages]


def without_root_rights() -> list[str]:
    """Return a command prefix that drops root's privilege to use every file; empty if the user is not root."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv is not installed: as root `apt-get install util-linux`"
    return [setpriv, *(f"--{kind}=-dac_override,-dac_read_search" for kind in ("bounding-set", "inh-caps"))]


def _arguments(deployment: Deployment, command: str) -> list[str]:
    return ["serve", "--port", str(deployment.port)] if command == "serve" else command.split()


def _read_refusal(process: subprocess.Popen[str]) -> list[str]:
    try:
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()  # if it did not end by itself
    assert process.returncode > 0, output + errors
    assert "Traceback" not in output + errors, errors
    assert output == "" and errors.startswith("Error: "), output + errors
    return errors.removeprefix("Error: ").splitlines()
