"""Which plan an app has, as a process remembers it: read from the store once, again when the feed says so."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from valetkey.settings.plans import Plan
from valetkey.storage import subscriptions
from valetkey.storage.engine.store import Store
from valetkey.storage.revocations import Revocation

from .change_feed import RevocationFeed

_REMEMBERED = 50_000


class Subscriptions:
    """Finds plans; an app that subscribed to none has the default plan, and so has one whose plan is no more."""

    def __init__(self, store: Store, feed: RevocationFeed, plans: Mapping[str, Plan], default: str) -> None:
        self._store = store
        self._plans = plans
        self._default = default
        self._feed = feed
        self._known: dict[str, str] = {}
        self._changes = 0
        self._lock = threading.Lock()
        feed.listen(self._forget)

    def plan_of(self, client_id: str, now: float) -> str:
        """The name of the app's plan; after the first time a look into memory.

        :raises StoreUnavailable: where the store cannot be read.
        """
        self._feed.refresh(now)
        found = self._known.get(client_id)
        return self._read(client_id) if found is None else found

    def scopes_of(self, client_id: str, now: float) -> frozenset[str] | None:
        """The publisher's scopes that the app's plan allows; None: all.

        :raises StoreUnavailable: where the store cannot be read.
        """
        if not self._plans:
            return None
        return self._plans[self.plan_of(client_id, now)].allowed_scopes

    def _read(self, client_id: str) -> str:
        changes = self._changes
        found = subscriptions.find(self._store, client_id)
        plan = found.plan if found is not None and found.plan in self._plans else self._default
        with self._lock:
            if changes == self._changes:  # else it changed while we read: do not remember what may be old
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[client_id] = plan
        return plan

    def _forget(self, entry: Revocation) -> None:
        if entry.kind in {"changed", "client"}:
            with self._lock:
                self._changes += 1
                self._known.pop(entry.subject, None)
