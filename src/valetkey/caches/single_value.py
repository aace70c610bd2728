"""One value that a process reads from the store and holds until it is told that it changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedValue(Generic[T]):
    """Holds what was read; ``value`` is None until then, and after ``forget``."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._generation = 0
        self._lock = threading.Lock()

    def load(self, loader: Callable[[], T]) -> T:
        """Read it; held, unless it changed meanwhile: what was read may be old then."""
        changes = self._generation
        value = loader()
        with self._lock:
            if changes == self._generation:
                self.value = value
        return value

    def invalidate(self) -> None:
        with self._lock:
            self._generation += 1
            self.value = None
