"""docs/operating.md names the commands that there are, all of them, with options that they have."""

from __future__ import annotations

import re

import click

from tests.journeys.checkout import PROJECT_DIR
from valetkey.cli import main

PAGE = (PROJECT_DIR / "docs" / "operating.md").read_text()
TABLE = PAGE.split("## All commands")[1]


def test_every_command_is_in_the_table() -> None:
    named = {
        name
        for first in re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE)
        for name in re.findall(r"`(?:valetkey )?(\w+)`", first)
    }

    assert named == main.commands.keys()


def test_the_table_names_what_groups_can_do() -> None:
    for group in (one for one in main.commands.values() if isinstance(one, click.Group)):
        (told,) = re.findall(rf"^\| .*`(?:valetkey )?{group.name}`.*$", TABLE, re.MULTILINE)
        assert [name for name in group.commands if f"`{name}`" not in told and name != "token"] == [], group.name


def test_each_command_that_it_shows_is_one() -> None:
    shown = [line.split() for line in re.findall(r"`valetkey ([a-z][^`]*)`", PAGE)]
    assert len(shown) > 20
    for words in shown:
        command: click.Command = main
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        options = {name for one in command.params for name in one.opts}
        assert command is not main and {word for word in words if word.startswith("-")} <= options, words


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (PROJECT_DIR / "docs" / link).exists(), link
