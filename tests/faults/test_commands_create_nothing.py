"""Only `init`, `serve` and `db upgrade` create a database or a key; all other commands need what exists."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.valetkey_server import Deployment
from valetkey.cli import main

CREATING_COMMANDS = {("init",), ("serve",), ("db", "upgrade"), ("restore",)}
WITHOUT_DATABASE = {("keys", "new"), ("login",), ("openapi",), ("scopes", "list"), ("db", "version"), ("check",)}


def all_commands(group: click.Group = main, names: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return all commands with their names, those of groups too."""
    context = click.Context(group)
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += all_commands(command, (*names, name))
        else:
            found.append(((*names, name), command))
    return found


def required_arguments(command: click.Command) -> list[str]:
    """Return the arguments and options without which a command is a usage error, with some value."""
    words = []
    for parameter in command.params:
        if not parameter.required:
            continue
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[-1])
        if isinstance(parameter.type, click.Choice):
            words.append(str(parameter.type.choices[0]))
        else:
            words.append("https://app.example/cb" if "uri" in str(parameter.name) else "value")
    return words


STORE_COMMANDS = [
    pytest.param(names, command, id=" ".join(names))
    for names, command in all_commands()
    if names not in CREATING_COMMANDS | WITHOUT_DATABASE
]


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that does not exist, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "moved"


@pytest.mark.parametrize(("names", "command"), STORE_COMMANDS)
def test_a_command_on_a_missing_data_directory_names_it_and_creates_nothing(
    names: tuple[str, ...], command: click.Command, missing: Path
) -> None:
    arguments = ["--data-dir", str(missing), *names, *required_arguments(command)]
    result = CliRunner().invoke(main, arguments, input="y\n" * 5)

    assert result.exit_code == 1, result.output
    assert f"no database at {missing / 'valetkey.db'}: run `valetkey init`" in result.output
    assert list(missing.parent.iterdir()) == []


@pytest.mark.parametrize("names", sorted(WITHOUT_DATABASE - {("login",)}))
def test_a_command_without_a_database_creates_nothing(names: tuple[str, ...], missing: Path) -> None:
    result = CliRunner().invoke(main, ["--data-dir", str(missing), *names])

    assert result.exit_code == 0, result.output
    assert list(missing.parent.iterdir()) == []


def test_check_says_that_there_is_no_database_yet(missing: Path) -> None:
    output = CliRunner().invoke(main, ["--data-dir", str(missing), "check"]).output

    assert f"advice:  no database at {missing / 'valetkey.db'}" in output


def test_no_command_creates_an_encryption_key_beside_an_existing_database(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    (tmp_path / "encryption.key").unlink()

    for arguments in (("check",), ("init",), ("keys", "rotate"), ("db", "upgrade"), ("serve",), ("users", "list")):
        result = subprocess.run(
            deployment.command(*arguments),
            capture_output=True,
            text=True,
            env=deployment.environment,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        assert not (tmp_path / "encryption.key").exists(), arguments
        if arguments not in {("db", "upgrade"), ("users", "list")}:
            assert result.returncode == 1, arguments
            assert f"the file {tmp_path / 'encryption.key'} does not exist" in result.stderr, result.stderr


def test_check_leaves_the_data_directory_as_it_is(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    assert "Ready to serve" in deployment.run("check")

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
