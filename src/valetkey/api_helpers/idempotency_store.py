"""The answers that idempotency keys give again, encrypted in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Response

from valetkey.runtime import Runtime
from valetkey.storage import idempotency_keys
from valetkey.storage.engine.transaction import Transaction
from valetkey.web.problem_responses import Problem

_TTL_S = 24 * 3600.0
_UNSTORED_HEADERS = frozenset({"set-cookie", "date", "content-length"})


@dataclass(frozen=True, slots=True)
class IdempotencyReservation:
    """The right to do the work of one key; it ends with ``keep`` or ``free``."""

    runtime: Runtime
    key_digest: bytes
    begun_at: float
    max_bytes: int

    def save_response(self, response: Response) -> None:
        """:raises StoreUnavailable: where it cannot be written."""
        response.direct_passthrough = False
        body, answer = response.get_data(), None
        if len(body) <= self.max_bytes:
            headers = [pair for pair in response.headers.to_wsgi_list() if pair[0].lower() not in _UNSTORED_HEADERS]
            answer = self.runtime.cipher.encrypt(json.dumps(headers).encode() + b"\n" + body, _row_id(self.key_digest))
        status = response.status_code
        self.runtime.store.write(
            Transaction(rows=(idempotency_keys.save_response(self.key_digest, self.begun_at, status, answer),))
        )

    def release(self) -> None:
        """:raises StoreUnavailable: where it cannot be written."""
        self.runtime.store.write(Transaction(rows=(idempotency_keys.release(self.key_digest, self.begun_at),)))


def reserve(
    runtime: Runtime, key_digest: bytes, request_digest: bytes, gives_up_after: float, max_bytes: int
) -> IdempotencyReservation | Response:
    """The claim on a key, or the answer that was kept under it.

    :raises Problem: 409 while its first request is at work, 422 where that was another request.
    :raises StoreUnavailable: where the store does not answer.
    """
    if not runtime.is_ready:
        runtime.get_ready()
    now = runtime.clock()
    wanted = idempotency_keys.reserve(
        key_digest,
        request_digest,
        now,
        abandoned_before=now - gives_up_after,
        expires_at=now + max(_TTL_S, gives_up_after),
    )
    if runtime.store.write(Transaction(condition=wanted)):
        return IdempotencyReservation(runtime, key_digest, now, max_bytes)
    kept = idempotency_keys.find(runtime.store, key_digest)
    if kept is not None and kept.request != request_digest:
        raise Problem(422, "this Idempotency-Key came with another request; take a new one for each")
    if kept is None or kept.status is None:
        raise Problem(409, "the first request with this Idempotency-Key is still at work", [("Retry-After", "1")])
    if kept.response is None:
        raise Problem(409, f"this was done already, with status {kept.status}; the answer was too large to be kept")
    return _replay_response(runtime, key_digest, kept.status, kept.response)


def _replay_response(runtime: Runtime, key_digest: bytes, status: int, ciphertext: bytes) -> Response:
    headers, _, body = runtime.cipher.decrypt(ciphertext, _row_id(key_digest)).partition(b"\n")
    response = Response(body, status)
    response.headers.clear()
    response.headers.extend([(name, value) for name, value in json.loads(headers)])
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _row_id(key_digest: bytes) -> str:
    return f"valetkey_idempotency_keys {key_digest.hex()}"
