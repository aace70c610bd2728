"""Cache of the plan (limit, quota, scopes) of each client, read from the database again after it has changed."""

from __future__ import annotations

from collections.abc import Mapping

from valetkey.settings.plans import Plan
from valetkey.storage import subscriptions
from valetkey.storage.engine.store import Store

from .change_feed import ChangeFeed
from .feed_cache import FeedCache, changed_client

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
        self._plan_names: FeedCache[str, str] = FeedCache(
            feed, self._read_plan_name, changed_client, max_entries=_MAX_ENTRIES
        )

    def get_plan_name(self, client_id: str, now: float) -> str:
        """Return the name of the client's plan. After the first call for a client, this is a look-up in memory.

        :raises StoreUnavailable: if the store cannot be read.
        """
        return self._plan_names.get(client_id, now) or self._default_plan

    def get_allowed_scopes(self, client_id: str, now: float) -> frozenset[str] | None:
        """Return the API scopes that the client's plan allows, or ``None`` if all are allowed or there are no plans.

        :raises StoreUnavailable: if the store cannot be read.
        """
        if not self._plans:
            return None
        return self._plans[self.get_plan_name(client_id, now)].allowed_scopes

    def _read_plan_name(self, client_id: str, _now: float) -> str:
        subscription = subscriptions.find(self._store, client_id)
        return subscription.plan if subscription and subscription.plan in self._plans else self._default_plan
