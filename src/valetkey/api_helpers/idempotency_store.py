"""Store reservations of idempotency keys, and the encrypted responses to their requests, in the database."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import Response

from valetkey.runtime import Runtime
from valetkey.storage import idempotency_keys
from valetkey.storage.encrypted_columns import STORED_RESPONSES
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.encryption import Cipher
from valetkey.web.problem_responses import Problem

_TTL_S = 24 * 3600.0
_UNSTORED_HEADERS = frozenset({"set-cookie", "date", "content-length"})


@dataclass(frozen=True, slots=True)
class IdempotencyReservation:
    """The exclusive right to process the request with one idempotency key.

    End it with ``save_response`` or ``release``.
    """

    runtime: Runtime
    key_digest: bytes
    begun_at: float  # seconds since 1970; tells this reservation from a later one of the same key
    is_repeatable: bool  # whether a request with the same key gets the response

    def save_response(self, response: Response, body: bytes | None) -> None:
        """Store the response to the request, or only its status if it is not repeatable or has no ``body``.

        :param body: the body of the response, or None if it is too large to be stored.
        :raises StoreUnavailable: if the database does not respond.
        """
        ciphertext = None
        if self.is_repeatable and body is not None:
            headers = [pair for pair in response.headers.to_wsgi_list() if pair[0].lower() not in _UNSTORED_HEADERS]
            plaintext = json.dumps(headers).encode() + b"\n" + body
            ciphertext = self.runtime.cipher.encrypt(plaintext, STORED_RESPONSES.row_id(digest=self.key_digest.hex()))
        status = response.status_code
        self.runtime.store.write(
            Transaction(rows=(idempotency_keys.save_response(self.key_digest, self.begun_at, status, ciphertext),))
        )

    def release(self) -> None:
        """Delete the reservation, so that a request with the same idempotency key is processed again.

        :raises StoreUnavailable: if the database does not respond.
        """
        self.runtime.store.write(Transaction(rows=(idempotency_keys.release(self.key_digest, self.begun_at),)))


def reserve(
    runtime: Runtime,
    key_digest: bytes,
    request_digest: bytes,
    gives_up_after: float,
    is_repeatable: bool,
    now: float,
) -> IdempotencyReservation | Response:
    """Reserve an idempotency key for a request, or return the response that is stored for the key.

    :param key_digest: digest of the key with the client, user, method and path that it belongs to.
    :param request_digest: digest of the query string and body, to detect a key that is used for a different request.
    :param gives_up_after: seconds after which an unfinished reservation can be replaced.
    :param is_repeatable: whether a repeated request gets the response; not if nothing identifies the caller.
    :raises Problem: 409 while the first request with the key is being processed, or if its response was not stored;
        422 if the first request was a different one.
    :raises StoreUnavailable: if the database does not respond.
    """
    if not runtime.is_ready:
        runtime.get_ready()
    reservation = idempotency_keys.reserve(
        key_digest,
        request_digest,
        now,
        abandoned_before=now - gives_up_after,
        expires_at=now + max(_TTL_S, gives_up_after),
    )
    if runtime.store.write(Transaction(condition=reservation, is_independent=True)):
        return IdempotencyReservation(runtime, key_digest, now, is_repeatable)
    earlier = idempotency_keys.find(runtime.store, key_digest)
    if earlier is not None and earlier.request != request_digest:
        raise Problem(422, "this Idempotency-Key was used for a different request; use a new key for each request")
    if earlier is None or earlier.status is None:
        raise Problem(
            409, "the first request with this Idempotency-Key is still being processed", [("Retry-After", "1")]
        )
    if not is_repeatable:
        raise Problem(
            409,
            "a request with this Idempotency-Key was already processed; its response is not repeated, as nothing "
            "identifies the caller without an access token. If it was not yours, send a new random key",
        )
    if earlier.response is None:
        raise Problem(
            409,
            f"this request was already processed, with status {earlier.status}; its response was too large to store",
        )
    return _replay_response(runtime.cipher, key_digest, earlier.status, earlier.response)


def _replay_response(cipher: Cipher, key_digest: bytes, status: int, ciphertext: bytes) -> Response:
    """Return a stored response, decrypted, with the additional header ``Idempotent-Replayed: true``."""
    headers, _, body = cipher.decrypt(ciphertext, STORED_RESPONSES.row_id(digest=key_digest.hex())).partition(b"\n")
    response = Response(body, status)
    response.headers.clear()
    response.headers.extend([(name, value) for name, value in json.loads(headers)])
    response.headers["Idempotent-Replayed"] = "true"
    return response
