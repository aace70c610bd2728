"""docs/operating.md lists every command, and its examples use existing commands and options."""

from __future__ import annotations

import re

import click

from tests.journeys.checkout import PROJECT_DIR
from valetkey.cli import main

PAGE = (PROJECT_DIR / "docs" / "operating.md").read_text()
TABLE = PAGE.split("## All commands")[1]
CONTEXT = click.Context(main)
COMMANDS = {name: main.get_command(CONTEXT, name) for name in main.list_commands(CONTEXT)}


def test_every_command_is_in_the_table() -> None:
    listed = {
        name
        for first in re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE)
        for name in re.findall(r"`(?:valetkey )?([\w-]+)`", first)
    }

    assert listed == COMMANDS.keys()


def test_the_table_names_the_subcommands_of_each_group() -> None:
    for group in (command for command in COMMANDS.values() if isinstance(command, click.Group)):
        (row,) = re.findall(rf"^\| .*`(?:valetkey )?{group.name}`.*$", TABLE, re.MULTILINE)
        assert [name for name in group.commands if f"`{name}`" not in row and name != "token"] == [], group.name


def test_each_example_uses_an_existing_command_and_its_options() -> None:
    examples = [line.split() for line in re.findall(r"`valetkey ([a-z][^`]*)`", PAGE)]
    assert len(examples) > 20
    for words in examples:
        command: click.Command = main
        while isinstance(command, click.Group) and words and (subcommand := command.get_command(CONTEXT, words[0])):
            command = subcommand
            words.pop(0)
        options = {name for parameter in command.params for name in parameter.opts}
        named = {word for word in words if word.startswith("-") and word != "-"}
        assert command is not main and named <= options, words
