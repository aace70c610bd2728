"""Rate limit counters in Redis or Valkey. Counters are changed by Lua scripts, which run atomically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valetkey.rate_limiting.limit import MAX_CLOCK_OFFSET_S, MAX_LEASE_AHEAD_S

from .counters import Counters, CountersUnavailable, Spend, SpendResult

# A counter expires this long after its budget is full again, as seen from ``min_tat``, which may be ahead of the call.
_MARGIN_MS = int(2 * MAX_LEASE_AHEAD_S * 1000)
_TIMEOUT_S = 1.0  # for a response; a rate limit does not justify a longer wait

# Numbers are sent with 17 significant digits, so that both ends have the same value.
_SPEND_SCRIPT = """
local results, margin_ms = {}, tonumber(ARGV[1])
for number, key in ipairs(KEYS) do
  local first = 4 * (number - 1) + 1
  local min_tat, cost = tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local max_tat, ceiling = tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4])
  local tat = tonumber(redis.call('GET', key) or min_tat)
  if tat > ceiling then tat = min_tat end
  local new_tat = math.max(tat, min_tat) + cost
  if new_tat > max_tat then
    results[number] = {0, string.format('%.17g', tat)}
  else
    local ttl_ms = math.ceil((new_tat - min_tat) * 1000) + margin_ms
    redis.call('SET', key, string.format('%.17g', new_tat), 'PX', ttl_ms)
    results[number] = {1, string.format('%.17g', new_tat)}
  end
end
return results
"""
_REFUND_SCRIPT = """
local tat = redis.call('GET', KEYS[1])
if not tat or (ARGV[2] and tonumber(tat) ~= tonumber(ARGV[2])) then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', tonumber(tat) - tonumber(ARGV[1])), 'KEEPTTL')
return 1
"""


class RedisCounters(Counters):
    """Rate limit counters in Redis or Valkey, where each expires once its whole budget is available again.

    If the Redis server loses its data, all callers have their whole budget.

    :param url: URL of the server, or of the one node of a cluster.
    :param deployment: issuer, or resource of a ``ResourceServer``: other deployments that use the same Redis database
        have counters of their own.
    """

    def __init__(self, url: str, deployment: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as cause:
            raise CountersUnavailable("redis_url needs its driver: pip install 'valetkey[redis]'") from cause
        # Retry once, since the connection may be to a server that restarted; the driver's default policy waits seconds.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        try:
            self._redis: Any = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=retry
            )
        except ValueError:
            raise CountersUnavailable(
                "redis_url is not a URL like redis://user:password@host:6379/0: percent-encode the user and the "
                "password, such as %2F for /"
            ) from None  # the cause may contain a part of the password
        self._redis_error = redis.RedisError
        self._other_node_error = redis.exceptions.AskError  # the base class of MovedError
        # In cluster mode, a script may only change keys of one slot: that of the part in braces.
        self._key_prefix = f"valetkey:{{{deployment}}}:limit:"
        self._spend_script = self._redis.register_script(_SPEND_SCRIPT)
        self._refund_script = self._redis.register_script(_REFUND_SCRIPT)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> SpendResult:
        return self.spend_all([Spend(key, min_tat, cost_s, max_tat)])[0]

    def spend_all(self, spends: Sequence[Spend]) -> list[SpendResult]:
        numbers = [
            number
            for _, min_tat, cost_s, max_tat in spends
            for number in (min_tat, cost_s, max_tat, max_tat + MAX_CLOCK_OFFSET_S)
        ]
        results = self._run_script(self._spend_script, [spend.key for spend in spends], _MARGIN_MS, *numbers)
        return [(bool(spent), float(tat)) for spent, tat in results]

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return bool(
            self._run_script(self._refund_script, [key], cost_s, *(() if expected_tat is None else (expected_tat,)))
        )

    def read(self, key: str, default: float) -> float:
        try:
            tat = self._redis.get(self._key_prefix + key)
        except self._redis_error as cause:
            raise self._fail(cause) from cause
        return default if tat is None else float(tat)

    def prune(self, now: float) -> None:
        """Do nothing: Redis deletes expired counters."""

    def close(self) -> None:
        self._redis.close()

    def _run_script(self, script: Any, keys: Sequence[str], *numbers: float) -> Any:
        try:
            return script(keys=[self._key_prefix + key for key in keys], args=[f"{number:.17g}" for number in numbers])
        except self._redis_error as cause:
            raise self._fail(cause) from cause

    def _fail(self, cause: Exception) -> CountersUnavailable:
        """Close idle connections, and return the exception to raise for an error of Redis or its driver.

        After a failover, open connections may lead to a server that has become a replica and refuses each change
        (READONLY). Only a new connection looks up the name in ``redis_url`` again.
        """
        self._redis.connection_pool.disconnect(inuse_connections=False)
        reason = " ".join(str(cause).split()) or type(cause).__name__
        if isinstance(cause, self._other_node_error):
            reason = f"another node of a cluster has the counters, {reason}: only clusters of one node are supported"
        return CountersUnavailable(f"Redis cannot count ({reason}); check redis_url and the server")
