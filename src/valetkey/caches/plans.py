"""Which plan an app has, as a process remembers it: read from the store once, again when the feed says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from valetkey.settings.plans import Plan
from valetkey.storage import subscriptions
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed

_MAX_ENTRIES = 50_000


class PlanCache:
    """Finds plans; an app that subscribed to none has the default plan, and so has one whose plan is no more."""

    def __init__(self, store: Store, feed: ChangeFeed, plans: Mapping[str, Plan], default_plan: str) -> None:
        self._store = store
        self._plans = plans
        self._default_plan = default_plan
        self._feed = feed
        self._plan_names: dict[str, str] = {}
        self._generation = 0
        self._lock = threading.Lock()
        feed.add_listener(self._on_change)

    def get_plan_name(self, client_id: str, now: float) -> str:
        """The name of the app's plan; after the first time a look into memory.

        :raises StoreUnavailable: where the store cannot be read.
        """
        self._feed.refresh(now)
        found = self._plan_names.get(client_id)
        return self._read(client_id) if found is None else found

    def get_allowed_scopes(self, client_id: str, now: float) -> frozenset[str] | None:
        """The publisher's scopes that the app's plan allows; None: all.

        :raises StoreUnavailable: where the store cannot be read.
        """
        if not self._plans:
            return None
        return self._plans[self.get_plan_name(client_id, now)].allowed_scopes

    def _read(self, client_id: str) -> str:
        changes = self._generation
        found = subscriptions.find(self._store, client_id)
        plan = found.plan if found is not None and found.plan in self._plans else self._default_plan
        with self._lock:
            if changes == self._generation:  # else it changed while we read: do not remember what may be old
                if len(self._plan_names) >= _MAX_ENTRIES:
                    self._plan_names.clear()
                self._plan_names[client_id] = plan
        return plan

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind in {"changed", "client"}:
            with self._lock:
                self._generation += 1
                self._plan_names.pop(entry.subject, None)
