"""The keys that sign tokens, as a process remembers them; published as a JWK set (RFC 7517)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from joserfc.jwk import Key

from valetkey.caches.single_value import CachedValue
from valetkey.storage import signing_keys
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.signing_keys import SigningKeyRow

from .encryption import Cipher
from .key_rotation import PAIRWISE_SALT_KID, create_key_for_algorithm, load_private_key, load_public_key

_MIN_RELOAD_INTERVAL_S = 0.5  # seconds, as of the revocation feed


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    algorithm: str
    key: Key


@dataclass(frozen=True, slots=True)
class _KeySet:
    current_by_algorithm: dict[str, SigningKey]  # by algorithm
    by_kid: dict[str, SigningKey]
    retired_by_kid: dict[str, SigningKey]  # public halves
    jwks: bytes
    read_at: float
    reload_at: float  # when the next key becomes active or is retired
    pairwise_salt: bytes | None


class KeyRing:
    """The signing keys of the store, read once and again when the feed says that they changed."""

    def __init__(self, store: Store, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher
        self._cached: CachedValue[_KeySet] = CachedValue()

    def invalidate_cache(self) -> None:
        self._cached.invalidate()

    def get_signing_key(self, algorithm: str, now: float) -> SigningKey:
        """The key that signs now; made where nobody has wanted this algorithm before.

        :raises StoreUnavailable: where the store has no keys at all.
        """
        key = self._get_key_set(now).current_by_algorithm.get(algorithm) or self._reload(now).current_by_algorithm.get(
            algorithm
        )
        if key is None:
            if not self._get_key_set(now).current_by_algorithm:
                raise StoreUnavailable("the store has no signing keys: run `valetkey init`")
            create_key_for_algorithm(self._store, self._cipher, algorithm, now)
            key = self._reload(now).current_by_algorithm[algorithm]
        return key

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The key of that name; one that another process made a moment ago too."""
        keys = self._get_key_set(now)
        if kid not in keys.by_kid and not 0 <= now - keys.read_at <= _MIN_RELOAD_INTERVAL_S:
            keys = self._reload(now)
        return keys.by_kid.get(kid)

    def find_retired(self, kid: str, now: float) -> SigningKey | None:
        """A key that is retired, and was not given up in an emergency: what it signed once is no proof, but a hint."""
        return self._get_key_set(now).retired_by_kid.get(kid)

    def jwks(self, now: float) -> bytes:
        """The published JWK set, as JSON."""
        return self._get_key_set(now).jwks

    def pairwise_salt(self, now: float) -> bytes:
        """What makes pairwise subjects unguessable; it never changes (OpenID Connect Core §8.1).

        :raises StoreUnavailable: where there is none.
        """
        salt = self._get_key_set(now).pairwise_salt
        if salt is None:
            raise StoreUnavailable("the store has no salt for pairwise subjects: run `valetkey init`")
        return salt

    def _reload(self, now: float) -> _KeySet:
        self.invalidate_cache()
        return self._get_key_set(now)

    def _get_key_set(self, now: float) -> _KeySet:
        loaded = self._cached.value
        if loaded is None or now >= loaded.reload_at:
            loaded = self._cached.load(lambda: self._load(now))
        return loaded

    def _load(self, now: float) -> _KeySet:
        every = signing_keys.list_all(self._store)
        salts = [
            self._cipher.decrypt(row.private, f"signing_keys:{row.kid}")
            for row in every
            if row.kid == PAIRWISE_SALT_KID
        ]
        rows = [
            row for row in every if row.kid != PAIRWISE_SALT_KID and (row.retired_at is None or row.retired_at > now)
        ]
        by_kid = {row.kid: SigningKey(row.kid, row.algorithm, load_private_key(row, self._cipher)) for row in rows}
        current = {row.algorithm: by_kid[row.kid] for row in rows if row.active_at <= now}  # the latest wins
        jwks = json.dumps({"keys": [dict(row.public_jwk) for row in rows]}).encode()
        changes = [moment for row in rows for moment in (row.active_at, row.retired_at) if moment and moment > now]
        former = {
            row.kid: SigningKey(row.kid, row.algorithm, load_public_key(row)) for row in every if _is_retired(row, now)
        }
        until = min(changes, default=float("inf"))
        return _KeySet(current, by_kid, former, jwks, now, until, next(iter(salts), None))


def _is_retired(row: SigningKeyRow, now: float) -> bool:
    is_over = row.kid != PAIRWISE_SALT_KID and row.retired_at is not None and row.retired_at <= now
    return is_over and len(row.private) > 0  # else it was ended in an emergency
