"""Rate limit counters in Redis or Valkey. Each change of a counter is a Lua script, which runs atomically."""

from __future__ import annotations

from typing import Any

from .counters import CountersUnavailable
from .limit import MAX_CLOCK_OFFSET_S

_TIMEOUT_S = 1.0  # for a response; a rate limit does not justify a longer wait

# Numbers are sent with 17 significant digits, so that both ends have the same value.
_SPEND_SCRIPT = """
local tat = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
if tat > tonumber(ARGV[4]) then tat = tonumber(ARGV[1]) end
local new_tat = math.max(tat, tonumber(ARGV[1])) + tonumber(ARGV[2])
if new_tat > tonumber(ARGV[3]) then return {0, string.format('%.17g', tat)} end
local ttl_ms = math.ceil((new_tat - tonumber(ARGV[1])) * 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.17g', new_tat), 'PX', ttl_ms)
return {1, string.format('%.17g', new_tat)}
"""
_REFUND_SCRIPT = """
local tat = redis.call('GET', KEYS[1])
if not tat or (ARGV[2] and tonumber(tat) ~= tonumber(ARGV[2])) then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', tonumber(tat) - tonumber(ARGV[1])), 'KEEPTTL')
return 1
"""


class RedisCounters:
    """Rate limit counters in Redis or Valkey, where each expires once its whole budget is available again.

    If the Redis server loses its data, all callers have their whole budget.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as cause:
            raise CountersUnavailable("redis_url needs its driver: pip install 'valetkey[redis]'") from cause
        # Retry once, since the connection may be to a server that restarted; the driver's default policy waits seconds.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=retry
        )
        self._redis_error = redis.RedisError
        self._spend_script = self._redis.register_script(_SPEND_SCRIPT)
        self._refund_script = self._redis.register_script(_REFUND_SCRIPT)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        spent, tat = self._run_script(self._spend_script, key, min_tat, cost_s, max_tat, max_tat + MAX_CLOCK_OFFSET_S)
        return bool(spent), float(tat)

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return bool(
            self._run_script(self._refund_script, key, cost_s, *(() if expected_tat is None else (expected_tat,)))
        )

    def read(self, key: str, default: float) -> float:
        try:
            tat = self._redis.get(_redis_key(key))
        except self._redis_error as cause:
            raise _unavailable(cause) from cause
        return default if tat is None else float(tat)

    def prune(self, now: float) -> None:
        """Do nothing: Redis deletes expired counters by itself."""

    def close(self) -> None:
        self._redis.close()

    def _run_script(self, script: Any, key: str, *numbers: float) -> Any:
        try:
            return script(keys=[_redis_key(key)], args=[f"{number:.17g}" for number in numbers])
        except self._redis_error as cause:
            raise _unavailable(cause) from cause


def _unavailable(cause: Exception) -> CountersUnavailable:
    """Return the exception to raise for an error of Redis or its driver, with the reason that it states."""
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return CountersUnavailable(f"Redis cannot count ({reason}); check redis_url and the server")


def _redis_key(key: str) -> str:
    return f"valetkey:limit:{key}"
