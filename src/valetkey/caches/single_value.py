"""Cache of one value that is read from the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedValue(Generic[T]):
    """One cached value. ``value`` is ``None`` before the first ``load`` and after ``invalidate``."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._generation = 0
        self._lock = threading.Lock()

    def load(self, loader: Callable[[], T]) -> T:
        """Call ``loader`` and return its value.

        The value is cached, unless ``invalidate`` was called meanwhile: it may be old then.
        """
        generation = self._generation
        value = loader()
        with self._lock:
            if generation == self._generation:
                self.value = value
        return value

    def invalidate(self) -> None:
        """Drop the value, because it has changed."""
        with self._lock:
            self._generation += 1
            self.value = None
