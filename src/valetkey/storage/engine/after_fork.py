"""Preparation for a fork, and reset in forked processes, such as the workers of gunicorn with ``--preload``."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in each child process that is forked from now on, as long as its object exists.

    A child has a copy of its parent's memory. So it would admit the calls that its parent may admit, and write the same
    counts; and a lock that another thread of the parent had would never be released.
    """
    os.register_at_fork(after_in_child=_call_weakly(method))


def call_around_fork(before: Callable[[], None], after_in_parent: Callable[[], None]) -> None:
    """Call bound methods in a process before and after it forks a child, as long as their object exists."""
    os.register_at_fork(before=_call_weakly(before), after_in_parent=_call_weakly(after_in_parent))


def _call_weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls a bound method if its object still exists."""
    weak_method = weakref.WeakMethod(method)

    def call_if_exists() -> None:
        bound_method = weak_method()
        if bound_method is not None:
            bound_method()

    return call_if_exists
