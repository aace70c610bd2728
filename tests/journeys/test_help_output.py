"""Help, the version, and options in a wrong place."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("clients", "--help")])
def test_help_that_cannot_be_written_is_an_error_without_a_traceback(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as output:
        command = [sys.executable, "-m", "valetkey", *arguments]
        completed = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)

    assert completed.returncode == 1
    assert completed.stderr == "Error: a file or the output cannot be used: No space left on device\n"


@pytest.mark.parametrize("option", ["--app", "--data-dir"])
def test_an_option_of_all_commands_after_a_command_says_where_it_belongs(option: str) -> None:
    command = [sys.executable, "-m", "valetkey", "clients", "list", option, "x"]

    completed = subprocess.run(command, capture_output=True, text=True, check=False)

    assert completed.returncode == 2
    assert f"{option} belongs before the command: valetkey {option} VALUE COMMAND" in completed.stderr
