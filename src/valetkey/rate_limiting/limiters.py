"""The rate limiters of a server, with the counter backend that its settings choose."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.settings import Settings
from valetkey.storage.engine.open import sqlite_path
from valetkey.storage.engine.store import Store
from valetkey.storage.limits import ROUTE_LIMITS

from .backends.counters import Counters
from .backends.grouped_counters import GroupedCounters
from .backends.redis_counters import RedisCounters
from .backends.sql_counters import SqlCounters, open_local_counters
from .limiter import Limiter


def make_limiters(settings: Settings, store: Store, clock: Callable[[], float]) -> tuple[Limiter, Limiter]:
    """Return the rate limiter of Valetkey's own endpoints and pages, and that of API routes and plans.

    They are two only on PostgreSQL, which keeps the counters of the first through a crash (see ``storage/limits.py``).

    :param store: the database, which has the counters if it is PostgreSQL and there is no Redis.
    :param clock: the clock that the times of calls are read from.
    """
    counters: Counters
    if settings.redis_url:
        counters = GroupedCounters(RedisCounters(settings.redis_url, settings.issuer))
    elif path := sqlite_path(settings.store_url):
        counters = open_local_counters(path.with_suffix(".limits.db"))
    else:
        counters = GroupedCounters(SqlCounters(store, ROUTE_LIMITS))
        return (
            Limiter(SqlCounters(store), clock, renews_in_background=True),
            Limiter(counters, clock, renews_in_background=True),
        )
    limiter = Limiter(counters, clock, renews_in_background=True)
    return limiter, limiter
