"""The keys that sign tokens: ES256 and RS256, encrypted in the store, published as a JWK set (RFC 7517)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, Key, RSAKey

from valetkey.protocol.algorithms import SIGNING_ALGORITHMS
from valetkey.protocol.secret import random_id
from valetkey.storage import leases, signing_keys
from valetkey.storage.signing_keys import SigningKeyRow
from valetkey.storage.statement import Bound
from valetkey.storage.store import Store
from valetkey.storage.write import StoreUnavailable, Write

from .cipher import Cipher

ALGORITHMS = SIGNING_ALGORITHMS
_SALT = "pairwise-salt"  # kept beside the keys, never published


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    algorithm: str
    key: Key


@dataclass(frozen=True, slots=True)
class _Loaded:
    current: dict[str, SigningKey]  # by algorithm
    by_kid: dict[str, SigningKey]
    jwks: bytes
    until: float  # when the next key becomes active or is retired
    pairwise_salt: bytes | None


class KeyRing:
    """The signing keys of the store, read once and again when the feed says that they changed."""

    def __init__(self, store: Store, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher
        self._loaded: _Loaded | None = None
        self._changes = 0

    def forget(self) -> None:
        self._changes += 1
        self._loaded = None

    def current(self, algorithm: str, now: float) -> SigningKey:
        """The key that signs now.

        :raises StoreUnavailable: where there is none.
        """
        key = self._keys(now).current.get(algorithm)
        if key is None:
            raise StoreUnavailable("the store has no signing keys: run `valetkey init`")
        return key

    def find(self, kid: str, now: float) -> SigningKey | None:
        return self._keys(now).by_kid.get(kid)

    def jwks(self, now: float) -> bytes:
        """The published JWK set, as JSON."""
        return self._keys(now).jwks

    def pairwise_salt(self, now: float) -> bytes:
        """What makes pairwise subjects unguessable; it never changes (OpenID Connect Core §8.1).

        :raises StoreUnavailable: where there is none.
        """
        salt = self._keys(now).pairwise_salt
        if salt is None:
            raise StoreUnavailable("the store has no salt for pairwise subjects: run `valetkey init`")
        return salt

    def _keys(self, now: float) -> _Loaded:
        loaded = self._loaded
        if loaded is None or now >= loaded.until:
            changes = self._changes
            loaded = self._load(now)
            if changes == self._changes:  # else they changed while we read: do not remember what may be old
                self._loaded = loaded
        return loaded

    def _load(self, now: float) -> _Loaded:
        every = signing_keys.every(self._store)
        salts = [self._cipher.decrypt(row.private, f"signing_keys:{row.kid}") for row in every if row.kid == _SALT]
        rows = [row for row in every if row.kid != _SALT and (row.retired_at is None or row.retired_at > now)]
        by_kid = {row.kid: SigningKey(row.kid, row.algorithm, self._private(row)) for row in rows}
        current = {row.algorithm: by_kid[row.kid] for row in rows if row.active_at <= now}  # the latest wins
        jwks = json.dumps({"keys": [dict(row.public_jwk) for row in rows]}).encode()
        changes = [moment for row in rows for moment in (row.active_at, row.retired_at) if moment and moment > now]
        return _Loaded(current, by_kid, jwks, min(changes, default=float("inf")), next(iter(salts), None))

    def _private(self, row: SigningKeyRow) -> Key:
        pem = self._cipher.decrypt(row.private, f"signing_keys:{row.kid}")
        return ECKey.import_key(pem) if row.algorithm == "ES256" else RSAKey.import_key(pem)


def new_signing_key(algorithm: str, cipher: Cipher, active_at: float) -> SigningKeyRow:
    """A fresh key of an algorithm in ``ALGORITHMS``, as the row to keep."""
    key: Any = ECKey.generate_key("P-256") if algorithm == "ES256" else RSAKey.generate_key(2048)
    kid = random_id()
    public = {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
    private = cipher.encrypt(key.as_pem(private=True), f"signing_keys:{kid}")
    return SigningKeyRow(kid, algorithm, json.dumps(public, sort_keys=True), private, active_at)


def make_first_keys(store: Store, cipher: Cipher, now: float) -> bool:
    """Make one key for each algorithm where the store has none; False where it has, or another process was first."""
    if signing_keys.every(store):
        return False
    salt = SigningKeyRow(_SALT, "none", "{}", cipher.encrypt(os.urandom(32), f"signing_keys:{_SALT}"), now)
    rows = tuple(signing_keys.ADD(new_signing_key(algorithm, cipher, now)) for algorithm in ALGORITHMS)
    rows = (*rows, signing_keys.ADD(salt))
    return store.write(Write(claim=leases.hold("first keys", random_id(), now, now + 60), rows=rows))


def rotate(
    store: Store, cipher: Cipher, now: float, *, published_before: float, tokens_live: float, emergency: bool = False
) -> tuple[Bound, ...]:
    """The rows that replace every signing key.

    The next key is published ``published_before`` seconds before it signs, so that whoever caches the JWK set has it
    by then; the old one stays until its last token is dead. In an emergency the old keys are worth nothing at once.
    """
    active_at = now if emergency else now + published_before
    end = now if emergency else active_at + tokens_live
    old = [
        row
        for row in signing_keys.every(store)
        if row.kid != _SALT and (row.retired_at is None or (emergency and row.retired_at > now))
    ]
    new = [signing_keys.ADD(new_signing_key(algorithm, cipher, active_at)) for algorithm in ALGORITHMS]
    return (*(signing_keys.retire(row.kid, end) for row in old), *new)
