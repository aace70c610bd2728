"""Cache of one value, such as the set of signing keys, that is read from the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CachedValue(Generic[T]):
    """Cache of one value: ``value`` is ``None`` before the first ``load`` and after ``invalidate``. Thread-safe."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._generation = 0
        self._lock = threading.Lock()

    def load(self, loader: Callable[[], T]) -> T:
        """Call ``loader``, cache the value that it returns, and return it.

        The value is not cached if ``invalidate`` was called meanwhile, because it may be out of date.
        """
        generation = self._generation
        value = loader()
        with self._lock:
            if generation == self._generation:
                self.value = value
        return value

    def invalidate(self) -> None:
        """Drop the cached value, because the value in the database has changed."""
        with self._lock:
            self._generation += 1
            self.value = None
