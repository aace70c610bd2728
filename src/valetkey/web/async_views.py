"""``async`` views of the host app."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from flask import current_app

P = ParamSpec("P")
R = TypeVar("R")


def ensure_sync(view: Callable[P, R]) -> Callable[P, R]:
    """Return a synchronous function that calls an ``async`` view; return any other view unchanged.

    Call it once for a view, when it is decorated: the check would cost 4 us in each call.
    """
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: cast(R, current_app.ensure_sync(view)(*args, **kwargs))
