"""A cached value that changes while it is read is read again: signing keys and protected resources."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from valetkey.caches.single_value import CachedValue
from valetkey.runtime import Runtime
from valetkey.storage import resources, signing_keys
from valetkey.storage.engine.store import Store


def test_a_value_is_read_once_until_it_changes() -> None:
    cached: CachedValue[int] = CachedValue()
    assert cached.value is None

    assert cached.load(lambda: 1) == 1
    assert cached.value == 1
    cached.invalidate()

    assert cached.value is None


def test_a_value_that_changes_while_it_is_read_is_not_cached() -> None:
    cached: CachedValue[int] = CachedValue()

    def change_and_read() -> int:
        cached.invalidate()
        return 1

    assert cached.load(change_and_read) == 1
    assert cached.value is None


@pytest.mark.parametrize("module", [resources, signing_keys], ids=["resources", "signing keys"])
def test_resources_and_keys_that_change_while_they_are_read_are_read_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    list_all: Callable[[Store], object] = module.list_all
    reads = []

    def change_during_first_read(store: Store) -> object:
        rows = list_all(store)
        reads.append(store)
        if len(reads) == 1:  # the feed reports a change before the first read is done
            runtime.resources.invalidate()
            runtime.keys.invalidate_cache()
        return rows

    runtime.resources.invalidate()
    runtime.keys.invalidate_cache()
    monkeypatch.setattr(module, "list_all", change_during_first_read)
    for _ in range(4):
        runtime.resources.all()
        runtime.keys.jwks(runtime.clock())

    assert len(reads) == 2
