"""Check that a revoked token is rejected everywhere within one second."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

ONLY_UNAUTHORIZED = {401}


def assert_revoked_within_one_second(get_statuses: Callable[[], Collection[int]]) -> None:
    """Call ``get_statuses`` until all statuses are 401.

    Call this right after the revocation. The second counts until a call begins, not until it ends, because a loaded
    machine may take long to respond.

    :raises AssertionError: if ``get_statuses`` is called more than a second after the first time and one of its
        statuses is not 401.
    """
    revoked_at = began_at = time.monotonic()
    while (statuses := set(get_statuses())) != ONLY_UNAUTHORIZED:
        assert began_at - revoked_at < 1, f"after a second: {statuses}"
        began_at = time.monotonic()
