"""Refuses a decorator without parentheses, for decorators that need arguments. Does not import Flask."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def requires_parentheses(example: str) -> Callable[[F], F]:
    """Make a function that returns a decorator raise ``TypeError`` if it is called with a view, as by ``@max_body``.

    :param example: the arguments that the message shows.
    """

    def decorate(make_decorator: F) -> F:
        @functools.wraps(make_decorator)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if args and callable(args[0]):
                name = make_decorator.__name__
                raise TypeError(f"write @{name}(...) with arguments, such as @{name}({example})")
            return make_decorator(*args, **kwargs)

        return cast(F, checked)

    return decorate
