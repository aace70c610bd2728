"""Cache of the plan (limit, quota, scopes) of each client, read from the database again after it has changed."""

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
    """Finds the plan that a client is subscribed to.

    A client gets the default plan if it has no subscription, or if its plan is not configured any more.

    :param plans: the configured plans by name; empty if the server has none.
    """

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
        """Return the name of the client's plan. After the first call for a client, this is a look-up in memory.

        :raises StoreUnavailable: if the store cannot be read.
        """
        self._feed.refresh(now)
        plan_name = self._plan_names.get(client_id)
        return self._read(client_id) if plan_name is None else plan_name

    def get_allowed_scopes(self, client_id: str, now: float) -> frozenset[str] | None:
        """Return the API scopes that the client's plan allows, or ``None`` if all are allowed or there are no plans.

        :raises StoreUnavailable: if the store cannot be read.
        """
        if not self._plans:
            return None
        return self._plans[self.get_plan_name(client_id, now)].allowed_scopes

    def _read(self, client_id: str) -> str:
        generation = self._generation
        subscription = subscriptions.find(self._store, client_id)
        plan_name = subscription.plan if subscription and subscription.plan in self._plans else self._default_plan
        with self._lock:
            if generation == self._generation:  # else a plan changed during the read: this one may be old
                if len(self._plan_names) >= _MAX_ENTRIES:
                    self._plan_names.clear()
                self._plan_names[client_id] = plan_name
        return plan_name

    def _on_change(self, entry: ChangeFeedEntry) -> None:
        if entry.kind in {"changed", "client"}:
            with self._lock:
                self._generation += 1
                self._plan_names.pop(entry.subject, None)
