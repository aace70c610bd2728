"""Reset of objects in forked child processes, such as the workers of gunicorn with ``--preload``."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in each child process that is forked from now on, as long as its object exists.

    A child has a copy of its parent's memory. So it would admit the calls that its parent may admit, and write the same
    counts; and a lock that another thread of the parent had would never be released.
    """
    weak_method = weakref.WeakMethod(method)

    def call_if_exists() -> None:
        bound_method = weak_method()
        if bound_method is not None:
            bound_method()

    os.register_at_fork(after_in_child=call_if_exists)
