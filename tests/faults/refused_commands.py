"""Commands that must refuse: each ends with a sentence and an exit status, never with a traceback."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tests.support.valetkey_server import Deployment


def run_refused_commands(deployment: Deployment, *commands: str, prefix: Sequence[str] = ()) -> list[list[str]]:
    """The lines with which each ``valetkey`` command refused; the commands run at the same time.

    :param before: words before the command, such as a program that takes its rights away.
    """
    here = deployment.data_dir if deployment.data_dir.is_dir() else deployment.data_dir.parent
    started = [
        subprocess.Popen(
            [*prefix, *deployment.command(*_arguments(deployment, command))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=deployment.environment,
            cwd=here,
        )
        for command in commands
    ]
    return [_read_refusal(process) for process in started]


def refusal_messages(deployment: Deployment, *commands: str, prefix: Sequence[str] = ()) -> list[str]:
    """The one sentence with which each command refused."""
    said = run_refused_commands(deployment, *commands, prefix=prefix)
    assert all(len(lines) == 1 for lines in said), said
    return [lines[0] for lines in said]


def _arguments(deployment: Deployment, command: str) -> list[str]:
    return ["serve", "--port", str(deployment.port)] if command == "serve" else command.split()


def _read_refusal(process: subprocess.Popen[str]) -> list[str]:
    try:
        printed, said = process.communicate(timeout=30)
    finally:
        process.kill()  # where it did not refuse
    assert process.returncode > 0, printed + said
    assert "Traceback" not in printed + said, said
    assert printed == "" and said.startswith("Error: "), printed + said
    return said.removeprefix("Error: ").splitlines()
