"""Options of commands: an empty value, as of a shell variable that is not set, never means the option's default."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from valetkey.cli import main

# Members of a client's metadata that have no default: `valetkey clients update` removes them.
WITHOUT_DEFAULT = {
    *("name", "redirect_uris", "uri", "post_logout_redirect_uris", "backchannel_logout_uri", "frontchannel_logout_uri"),
    *("contact", "jwks_uri", "introspection_resources"),
}


def text_parameters(command: click.Command, path: str = "valetkey") -> Iterator[tuple[str, click.Parameter]]:
    """Yield the optional options and arguments of a command, and of all commands below it, whose value is a text."""
    for parameter in command.params:
        is_text = isinstance(parameter.type, click.types.StringParamType) and parameter.nargs == 1
        is_metadata = path.startswith("valetkey clients ") and parameter.name in WITHOUT_DEFAULT
        if is_text and not parameter.required and not is_metadata:
            yield f"{path} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from text_parameters(subcommand, f"{path} {name}")


PARAMETERS = dict(text_parameters(main))


def test_the_options_that_are_checked_include_those_of_all_kinds() -> None:
    assert {
        "valetkey --data-dir",
        "valetkey serve app",
        "valetkey login --scope",
        "valetkey clients create --scope",
        "valetkey clients update --auth-method",
        "valetkey resources update --name",
    } <= PARAMETERS.keys()


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("name", PARAMETERS)
def test_an_empty_value_is_refused(name: str, value: str) -> None:
    parameter = PARAMETERS[name]

    with pytest.raises(click.BadParameter, match="the value is empty"):
        parameter.process_value(click.Context(main), ["a", value] if parameter.multiple else value)
