"""What changed while it was read is read again: keys that were just withdrawn, resources that were just changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from valetkey.caches.single_value import CachedValue
from valetkey.runtime import Runtime
from valetkey.storage import resources, signing_keys
from valetkey.storage.engine.store import Store


def test_a_value_is_read_once_until_it_changes() -> None:
    held: CachedValue[int] = CachedValue()
    assert held.value is None

    assert held.load(lambda: 1) == 1
    assert held.value == 1
    held.invalidate()

    assert held.value is None


def test_what_changed_while_it_was_read_is_not_held() -> None:
    held: CachedValue[int] = CachedValue()

    def read() -> int:
        held.invalidate()
        return 1

    assert held.load(read) == 1
    assert held.value is None


@pytest.mark.parametrize("module", [resources, signing_keys], ids=["resources", "keys"])
def test_resources_and_keys_that_change_while_they_are_read_are_read_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, module: object
) -> None:
    every: Callable[[Store], object] = module.every  # type: ignore[attr-defined]
    reads = []

    def changed_meanwhile(store: Store) -> object:
        found = every(store)
        reads.append(1)
        if len(reads) == 1:  # the feed tells of a change before the first reader is done
            runtime.resources.invalidate()
            runtime.keys.invalidate_cache()
        return found

    runtime.resources.invalidate()
    runtime.keys.invalidate_cache()
    monkeypatch.setattr(module, "list_all", changed_meanwhile)
    for _ in range(4):
        runtime.resources.all()
        runtime.keys.jwks(runtime.clock())

    assert len(reads) == 2
