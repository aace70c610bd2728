"""Start of daemon threads. A request must not fail because the system allows no more threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_LOG_INTERVAL_S = 60.0
_log = logging.getLogger("valetkey")
_next_log_at = 0.0


def start_daemon_thread(name: str, target: Callable[..., object], *args: object) -> threading.Thread | None:
    """Start a daemon thread and return it, or ``None`` if the system allows no more threads.

    The failure is logged, at most once a minute.
    """
    global _next_log_at
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if (now := time.monotonic()) >= _next_log_at:
            _next_log_at = now + _LOG_INTERVAL_S
            _log.error(
                "the thread %s cannot be started (%s): raise the limit of processes and threads of this user or "
                "container, then restart the server",
                name,
                error,
            )
        return None
    return thread
