"""Generate and rotate signing keys. The database stores them encrypted; each is for one algorithm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from valetkey.protocol.algorithms import DEFAULT_SIGNING_ALGORITHMS
from valetkey.protocol.secret import random_id
from valetkey.storage import change_feed, leases, signing_keys
from valetkey.storage.encrypted_columns import SIGNING_KEYS
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.signing_keys import SigningKeyRow

from .encryption import Cipher

PAIRWISE_SALT_KID = "pairwise-salt"  # stored in the same table as the keys, never published
_KEY_TYPES: Mapping[str, tuple[Any, Any]] = {  # for SIGNING_ALGORITHMS: class of the key, its bits or curve
    "RS256": (RSAKey, 2048),
    "PS256": (RSAKey, 2048),
    "ES256": (ECKey, "P-256"),
    "Ed25519": (OKPKey, "Ed25519"),
    "EdDSA": (OKPKey, "Ed25519"),
}


def generate_signing_key(algorithm: str, cipher: Cipher, active_at: float) -> SigningKeyRow:
    """Return the database row, not yet stored, of a new signing key for one algorithm in ``SIGNING_ALGORITHMS``.

    :param cipher: encrypts the private key.
    :param active_at: when the key begins to sign, in seconds since 1970.
    """
    key_class, size = _KEY_TYPES[algorithm]
    key = key_class.generate_key(size)
    kid = random_id()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
    private = cipher.encrypt(key.as_pem(private=True), SIGNING_KEYS.row_id(kid=kid))
    return SigningKeyRow(kid, algorithm, json.dumps(public, sort_keys=True), private, active_at)


def create_initial_keys(store: Store, cipher: Cipher, now: float) -> bool:
    """Create and store the first signing key of each default algorithm, and the salt of pairwise subject identifiers.

    The encryption key is created too, if ``data_dir`` must have it and does not.

    Return whether they were created: ``False`` if the database has signing keys already, or another process is creating
    them.
    """
    if signing_keys.list_all(store):
        return False
    cipher.create_key_file()
    salt = SigningKeyRow(
        PAIRWISE_SALT_KID, "none", "{}", cipher.encrypt(os.urandom(32), SIGNING_KEYS.row_id(kid=PAIRWISE_SALT_KID)), now
    )
    rows = tuple(
        signing_keys.add(generate_signing_key(algorithm, cipher, now)) for algorithm in DEFAULT_SIGNING_ALGORITHMS
    )
    rows = (*rows, signing_keys.add(salt))
    return store.write(Transaction(condition=leases.acquire("first keys", random_id(), 60), rows=rows))


def create_key_for_algorithm(store: Store, cipher: Cipher, algorithm: str, now: float) -> None:
    """Create and store the first signing key of an algorithm, unless another process has just done so.

    Other processes learn of the new key from the change feed, the table of changes that each process polls.
    """
    rows = (
        signing_keys.add(generate_signing_key(algorithm, cipher, now)),
        change_feed.add("changed", "keys"),
    )
    store.write(Transaction(condition=leases.acquire(f"first key {algorithm}", random_id(), 60), rows=rows))


def load_private_key(row: SigningKeyRow, cipher: Cipher) -> Key:
    """Return the private key in a row of the table ``signing_keys``.

    :raises StoreUnavailable: if no key in ``encryption_keys`` decrypts it.
    """
    key: Key = _KEY_TYPES[row.algorithm][0].import_key(cipher.decrypt(row.private, SIGNING_KEYS.row_id(kid=row.kid)))
    return key


def load_public_key(row: SigningKeyRow) -> Key:
    """Return the public half of the key in a row of the table ``signing_keys``."""
    # The alg of an Ed25519 key may have either of two names, of which joserfc accepts one.
    key: Key = _KEY_TYPES[row.algorithm][0].import_key(
        {name: row.public_jwk[name] for name in row.public_jwk if name != "alg"}
    )
    return key


def check_encryption_key(store: Store, cipher: Cipher) -> None:
    """Check that the encryption key is the one of the database: that it decrypts what the first server has stored.

    Signing keys prove nothing, because a command with another encryption key may have added one.

    :raises StoreUnavailable: if the encryption key is missing or another one.
    """
    for row in signing_keys.list_all(store):
        if row.kid == PAIRWISE_SALT_KID:
            cipher.decrypt(row.private, SIGNING_KEYS.row_id(kid=row.kid))


def rotation_statements(
    store: Store,
    cipher: Cipher,
    now: float,
    *,
    publish_ahead_s: float,
    token_lifetime_s: float,
    emergency: bool = False,
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that replace every signing key, for each algorithm in use.

    :param publish_ahead_s: seconds for which the new keys are published before they sign, so that caches of the JWK set
        have them by then.
    :param token_lifetime_s: seconds for which the old keys stay published after the new keys begin to sign, until the
        last token that they signed has expired.
    :param emergency: sign with the new keys and refuse the old ones at once, and erase the old private keys.
    :raises StoreUnavailable: if the encryption key is missing or another one, since servers could not use the new keys.
    """
    check_encryption_key(store, cipher)
    active_at = now if emergency else now + publish_ahead_s
    old_rows = [row for row in signing_keys.list_all(store) if row.kid != PAIRWISE_SALT_KID]
    retirements = (
        [_emergency_end_statement(row, now) for row in old_rows]
        if emergency
        else _retire_statements(old_rows, active_at + token_lifetime_s)
    )
    algorithms = {
        *DEFAULT_SIGNING_ALGORITHMS,
        *(row.algorithm for row in old_rows if row.retired_at is None or row.retired_at > now),
    }
    additions = [
        signing_keys.add(generate_signing_key(algorithm, cipher, active_at)) for algorithm in sorted(algorithms)
    ]
    return (*retirements, *additions)


def _retire_statements(rows: Iterable[SigningKeyRow], retired_at: float) -> list[BoundStatement]:
    return [signing_keys.retire(row.kid, retired_at) for row in rows if row.retired_at is None]


def _emergency_end_statement(row: SigningKeyRow, now: float) -> BoundStatement:
    return signing_keys.retire_and_erase(row.kid, now if row.retired_at is None else min(row.retired_at, now))
