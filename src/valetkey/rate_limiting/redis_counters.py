"""Counting in Redis or Valkey: the movement is a script, which the server runs without interruption."""

from __future__ import annotations

from typing import Any

from valetkey.storage.engine.transaction import StoreUnavailable

_TIMEOUT_S = 1.0  # for an answer; a limit is no reason to wait longer

# Numbers travel with 17 digits, so that they are the same at both ends.
_SPEND_SCRIPT = """
local tat = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
local moved = math.max(tat, tonumber(ARGV[1])) + tonumber(ARGV[2])
if moved > tonumber(ARGV[3]) then return {0, string.format('%.17g', tat)} end
local life = math.ceil((moved - tonumber(ARGV[1])) * 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.17g', moved), 'PX', life)
return {1, string.format('%.17g', moved)}
"""
_REFUND_SCRIPT = """
local tat = redis.call('GET', KEYS[1])
if not tat or (ARGV[2] and tonumber(tat) ~= tonumber(ARGV[2])) then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', tonumber(tat) - tonumber(ARGV[1])), 'KEEPTTL')
return 1
"""


class RedisCounters:
    """Keys expire by themselves. A server that lost its memory has given all budgets back."""

    def __init__(self, url: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as cause:
            raise StoreUnavailable("redis_url needs its driver: pip install 'valetkey[redis]'") from cause
        # Once more, since a connection may have been the old server's; the driver's own rule waits for seconds.
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=again
        )
        self._redis_error = redis.RedisError
        self._spend_script = self._redis.register_script(_SPEND_SCRIPT)
        self._refund_script = self._redis.register_script(_REFUND_SCRIPT)

    def spend(self, key: str, min_tat: float, cost_s: float, max_tat: float) -> tuple[bool, float]:
        spent, tat = self._run_script(self._spend_script, key, min_tat, cost_s, max_tat)
        return bool(spent), float(tat)

    def refund(self, key: str, cost_s: float, expected_tat: float | None) -> bool:
        return bool(
            self._run_script(self._refund_script, key, cost_s, *(() if expected_tat is None else (expected_tat,)))
        )

    def read(self, key: str, default: float) -> float:
        try:
            tat = self._redis.get(_redis_key(key))
        except self._redis_error as cause:
            raise StoreUnavailable("Redis does not answer") from cause
        return default if tat is None else float(tat)

    def prune(self, now: float) -> None:
        """Nothing to do: keys expire by themselves."""

    def close(self) -> None:
        self._redis.close()

    def _run_script(self, script: Any, key: str, *numbers: float) -> Any:
        try:
            return script(keys=[_redis_key(key)], args=[f"{number:.17g}" for number in numbers])
        except self._redis_error as cause:
            raise StoreUnavailable("Redis does not answer") from cause


def _redis_key(key: str) -> str:
    return f"valetkey:limit:{key}"
