"""A token that was revoked is honoured by no call that begins a second later."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

ONLY_UNAUTHORIZED = {401}


def assert_revoked_within_one_second(get_statuses: Callable[[], Collection[int]]) -> None:
    """Ask for the statuses of some calls, until all are 401.

    :raises AssertionError: where one that began over a second after the first is not. How long a call takes is
        the machine's affair: one that began in time may end later.
    """
    revoked = began = time.monotonic()
    while (statuses := set(get_statuses())) != ONLY_UNAUTHORIZED:
        assert began - revoked < 1, f"after a second: {statuses}"
        began = time.monotonic()
