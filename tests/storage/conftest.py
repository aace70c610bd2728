"""Fixtures: a store with tables and without rows, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url)
    yield store
    store.close()
