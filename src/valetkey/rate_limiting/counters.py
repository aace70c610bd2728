"""Where to count. A store of counters does one thing: it moves the theoretical arrival time of a key, or refuses."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from valetkey.storage.write import StoreUnavailable

_MOST_KEYS = 100_000


class Counters(Protocol):
    """The contract, kept by all: ``spend`` is atomic among all processes that share the counters."""

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        """Set ``tat = max(tat, base) + cost`` unless that is later than ``latest``.

        Answers whether it was set, and the key's tat (all in seconds since 1970; cost in seconds).

        :raises StoreUnavailable: where the counters cannot be reached.
        """
        ...

    def refund(self, key: str, cost: float) -> None:
        """Give back what was spent."""
        ...

    def prune(self, now: float) -> None:
        """Forget the keys whose budget is full."""
        ...

    def close(self) -> None: ...


class MemoryCounters:
    """For one process: nothing is shared."""

    def __init__(self) -> None:
        self._tats: dict[str, float] = {}
        self._lock = threading.Lock()

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        with self._lock:
            tat = self._tats.get(key, base)
            moved = max(tat, base) + cost
            if moved > latest:
                return False, tat
            if len(self._tats) >= _MOST_KEYS:
                self._forget(base)
            self._tats[key] = moved
            return True, moved

    def refund(self, key: str, cost: float) -> None:
        with self._lock:
            if key in self._tats:
                self._tats[key] -= cost

    def prune(self, now: float) -> None:
        with self._lock:
            self._forget(now)

    def close(self) -> None:
        self._tats.clear()

    def _forget(self, now: float) -> None:
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now}


class RedisCounters:
    """Redis or Valkey: the same movement as a script, which the server runs without interruption."""

    _SPEND = """
    local tat = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
    local moved = math.max(tat, tonumber(ARGV[1])) + tonumber(ARGV[2])
    if moved > tonumber(ARGV[3]) then return {0, string.format('%.6f', tat)} end
    local life = math.ceil((moved - tonumber(ARGV[1])) * 1000) + 1000
    redis.call('SET', KEYS[1], string.format('%.6f', moved), 'PX', life)
    return {1, string.format('%.6f', moved)}
    """
    _REFUND = """
    local tat = redis.call('GET', KEYS[1])
    if tat then
      redis.call('SET', KEYS[1], string.format('%.6f', tonumber(tat) - tonumber(ARGV[1])), 'KEEPTTL')
    end
    return 1
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError as cause:
            raise StoreUnavailable("redis_url needs its driver: pip install 'valetkey[redis]'") from cause
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self._error = redis.RedisError
        self._spend = self._redis.register_script(self._SPEND)
        self._refund = self._redis.register_script(self._REFUND)

    def spend(self, key: str, base: float, cost: float, latest: float) -> tuple[bool, float]:
        spent, tat = self._call(self._spend, key, base, cost, latest)
        return bool(spent), float(tat)

    def refund(self, key: str, cost: float) -> None:
        self._call(self._refund, key, cost)

    def prune(self, now: float) -> None:
        """Nothing to do: keys expire by themselves."""

    def close(self) -> None:
        self._redis.close()

    def _call(self, script: Any, key: str, *numbers: float) -> Any:
        try:
            return script(keys=[f"valetkey:limit:{key}"], args=[f"{number:.6f}" for number in numbers])
        except self._error as cause:
            raise StoreUnavailable("Redis does not answer") from cause
