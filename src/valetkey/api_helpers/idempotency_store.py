"""The answers that idempotency keys give again, encrypted in the store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Response

from valetkey.runtime import Runtime
from valetkey.storage import idempotency_keys
from valetkey.storage.engine.transaction import Write
from valetkey.web.problem_responses import Problem

_KEPT = 24 * 3600.0
_NOT_REPEATED = frozenset({"set-cookie", "date", "content-length"})


@dataclass(frozen=True, slots=True)
class Claimed:
    """The right to do the work of one key; it ends with ``keep`` or ``free``."""

    runtime: Runtime
    digest: bytes
    begun_at: float
    most: int

    def keep(self, response: Response) -> None:
        """:raises StoreUnavailable: where it cannot be written."""
        response.direct_passthrough = False
        body, answer = response.get_data(), None
        if len(body) <= self.most:
            headers = [pair for pair in response.headers.to_wsgi_list() if pair[0].lower() not in _NOT_REPEATED]
            answer = self.runtime.cipher.encrypt(json.dumps(headers).encode() + b"\n" + body, _row(self.digest))
        status = response.status_code
        self.runtime.store.write(Write(rows=(idempotency_keys.finish(self.digest, self.begun_at, status, answer),)))

    def free(self) -> None:
        """:raises StoreUnavailable: where it cannot be written."""
        self.runtime.store.write(Write(rows=(idempotency_keys.free(self.digest, self.begun_at),)))


def claim(runtime: Runtime, digest: bytes, asked: bytes, gives_up_after: float, most: int) -> Claimed | Response:
    """The claim on a key, or the answer that was kept under it.

    :raises Problem: 409 while its first request is at work, 422 where that was another request.
    :raises StoreUnavailable: where the store does not answer.
    """
    if not runtime.is_ready:
        runtime.get_ready()
    now = runtime.clock()
    wanted = idempotency_keys.claim(
        digest, asked, now, given_up=now - gives_up_after, expires_at=now + max(_KEPT, gives_up_after)
    )
    if runtime.store.write(Write(claim=wanted)):
        return Claimed(runtime, digest, now, most)
    kept = idempotency_keys.find(runtime.store, digest)
    if kept is not None and kept.request != asked:
        raise Problem(422, "this Idempotency-Key came with another request; take a new one for each")
    if kept is None or kept.status is None:
        raise Problem(409, "the first request with this Idempotency-Key is still at work", [("Retry-After", "1")])
    if kept.answer is None:
        raise Problem(409, f"this was done already, with status {kept.status}; the answer was too large to be kept")
    return _answer_again(runtime, digest, kept.status, kept.answer)


def _answer_again(runtime: Runtime, digest: bytes, status: int, sealed: bytes) -> Response:
    headers, _, body = runtime.cipher.decrypt(sealed, _row(digest)).partition(b"\n")
    response = Response(body, status)
    response.headers.clear()
    response.headers.extend([(name, value) for name, value in json.loads(headers)])
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _row(digest: bytes) -> str:
    return f"valetkey_idempotency_keys {digest.hex()}"
