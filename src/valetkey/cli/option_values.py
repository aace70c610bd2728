"""Check the values of options."""

from __future__ import annotations

from typing import Any

import click


def refuse_empty(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """Return the value of an option or argument; use it as its ``callback``.

    :param value: a text, a tuple of texts if the option may be repeated, or ``None``.
    :raises click.BadParameter: if a text is empty: an unset shell variable must not mean the option's default.
    """
    texts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(text, str) and not text.strip() for text in texts):
        raise click.BadParameter("the value is empty; leave the option out for its default")
    return value


class NonEmptyPath(click.Path):
    """The type of a path that an option or argument names. An empty text is refused: it would mean the folder ``.``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)
