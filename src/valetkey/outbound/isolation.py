"""Tasks of the worker whose failure must not stop it: unexpected errors are logged without what they may contain."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from valetkey.protocol.unavailable import BackendUnavailable

_log = logging.getLogger("valetkey")


def describe_error(error: BaseException) -> str:
    """Return the class of an unexpected error, and the file and line that raised it.

    The message of the error is left out, because it may contain personal data or a secret.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"


def run_isolated(name: str, task: Callable[[], object]) -> bool:
    """Call a function. If it raises anything, log an error and return ``False``, so that the worker continues."""
    try:
        task()
    except BaseException as error:
        raise_if_interrupted(error)
        reason = str(error) if isinstance(error, BackendUnavailable) else describe_error(error)
        _log.error("%s failed: %s", name, reason)
        return False
    return True


def raise_if_interrupted(error: BaseException) -> None:
    """Raise the exception again if it is from Ctrl-C, which Python raises in the main thread only."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error
