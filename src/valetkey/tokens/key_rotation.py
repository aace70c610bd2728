"""Signing keys are made and replaced: encrypted in the store, each for one algorithm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from valetkey.protocol.algorithms import DEFAULT_SIGNING_ALGORITHMS
from valetkey.protocol.secret import random_id
from valetkey.storage import change_feed, leases, signing_keys
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.signing_keys import SigningKeyRow

from .encryption import Cipher

PAIRWISE_SALT_KID = "pairwise-salt"  # kept beside the keys, never published
_KEY_TYPES: Mapping[str, tuple[Any, Any]] = {  # of SIGNING_ALGORITHMS; what it is made by, curve or bits
    "RS256": (RSAKey, 2048),
    "PS256": (RSAKey, 2048),
    "ES256": (ECKey, "P-256"),
    "Ed25519": (OKPKey, "Ed25519"),
    "EdDSA": (OKPKey, "Ed25519"),
}


def generate_signing_key(algorithm: str, cipher: Cipher, active_at: float) -> SigningKeyRow:
    """A fresh key of an algorithm in ``SIGNING_ALGORITHMS``, as the row to keep; it signs with no other algorithm."""
    kind, size = _KEY_TYPES[algorithm]
    key = kind.generate_key(size)
    kid = random_id()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
    private = cipher.encrypt(key.as_pem(private=True), f"signing_keys:{kid}")
    return SigningKeyRow(kid, algorithm, json.dumps(public, sort_keys=True), private, active_at)


def create_initial_keys(store: Store, cipher: Cipher, now: float) -> bool:
    """Make one key for each algorithm where the store has none; False where it has, or another process was first."""
    if signing_keys.list_all(store):
        return False
    salt = SigningKeyRow(
        PAIRWISE_SALT_KID, "none", "{}", cipher.encrypt(os.urandom(32), f"signing_keys:{PAIRWISE_SALT_KID}"), now
    )
    rows = tuple(
        signing_keys.add(generate_signing_key(algorithm, cipher, now)) for algorithm in DEFAULT_SIGNING_ALGORITHMS
    )
    rows = (*rows, signing_keys.add(salt))
    return store.write(Transaction(condition=leases.acquire("first keys", random_id(), now, now + 60), rows=rows))


def create_key_for_algorithm(store: Store, cipher: Cipher, algorithm: str, now: float) -> None:
    """Make the first key of an algorithm, unless another process just did; the others hear of it by the feed."""
    rows = (
        signing_keys.add(generate_signing_key(algorithm, cipher, now)),
        change_feed.add("changed", "keys", now, now + 3600),
    )
    store.write(Transaction(condition=leases.acquire(f"first key {algorithm}", random_id(), now, now + 60), rows=rows))


def load_private_key(row: SigningKeyRow, cipher: Cipher) -> Key:
    """The private key in a row.

    :raises StoreUnavailable: where ``encryption_keys`` has none that opens it.
    """
    key: Key = _KEY_TYPES[row.algorithm][0].import_key(cipher.decrypt(row.private, f"signing_keys:{row.kid}"))
    return key


def load_public_key(row: SigningKeyRow) -> Key:
    """The public half of the key in a row."""
    # The library knows only one of the names of Ed25519, which alg may be.
    key: Key = _KEY_TYPES[row.algorithm][0].import_key(
        {name: row.public_jwk[name] for name in row.public_jwk if name != "alg"}
    )
    return key


def rotation_statements(
    store: Store,
    cipher: Cipher,
    now: float,
    *,
    publish_ahead_s: float,
    token_lifetime_s: float,
    emergency: bool = False,
) -> tuple[BoundStatement, ...]:
    """The rows that replace every signing key, of whatever algorithm was wanted so far.

    The next key is published ``published_before`` seconds before it signs, so that whoever caches the JWK set has it
    by then; the old one stays until its last token is dead. In an emergency the old keys are worth nothing at once.
    """
    active_at = now if emergency else now + publish_ahead_s
    old = [row for row in signing_keys.list_all(store) if row.kid != PAIRWISE_SALT_KID]
    ended = (
        [_emergency_end_statement(row, now) for row in old]
        if emergency
        else _retire_statements(old, active_at + token_lifetime_s)
    )
    algorithms = {
        *DEFAULT_SIGNING_ALGORITHMS,
        *(row.algorithm for row in old if row.retired_at is None or row.retired_at > now),
    }
    new = [signing_keys.add(generate_signing_key(algorithm, cipher, active_at)) for algorithm in sorted(algorithms)]
    return (*ended, *new)


def _retire_statements(rows: Iterable[SigningKeyRow], retired_at: float) -> list[BoundStatement]:
    return [signing_keys.retire(row.kid, retired_at) for row in rows if row.retired_at is None]


def _emergency_end_statement(row: SigningKeyRow, now: float) -> BoundStatement:
    return signing_keys.retire_and_erase(row.kid, now if row.retired_at is None else min(row.retired_at, now))
