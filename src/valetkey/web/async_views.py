"""Call ``async`` views from decorators, which are synchronous functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from flask import current_app

from .class_views import check_is_no_class_based_view

P = ParamSpec("P")
R = TypeVar("R")


def ensure_sync(view: Callable[P, R]) -> Callable[P, R]:
    """Return a synchronous function that calls an ``async`` view; return any other view unchanged.

    Each decorator of Valetkey calls it once for its view, when it is applied: the check would cost 4 us in each call.

    :raises ValueError: if the view is a class with ``as_view``.
    """
    check_is_no_class_based_view(view)
    if not inspect.iscoroutinefunction(view):
        return view
    return lambda *args, **kwargs: cast(R, current_app.ensure_sync(view)(*args, **kwargs))
