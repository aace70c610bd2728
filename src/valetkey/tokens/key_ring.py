"""Cache of the keys that sign tokens. Their public halves are published as a JWK set (RFC 7517)."""

from __future__ import annotations

from dataclasses import dataclass

from joserfc.jwk import Key

from valetkey.caches.change_feed import ChangeFeed
from valetkey.caches.feed_cache import FeedCache
from valetkey.protocol.json_encoding import encode_json
from valetkey.storage import signing_keys
from valetkey.storage.change_feed import ChangeFeedEntry
from valetkey.storage.encrypted_columns import SIGNING_KEYS
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.signing_keys import SigningKeyRow

from .encryption import Cipher
from .key_rotation import PAIRWISE_SALT_KID, create_key_for_algorithm, load_private_key, load_public_key

_MIN_RELOAD_INTERVAL_S = 0.5  # the same as the change feed's
_CHANGED_SUBJECT = "keys"  # subject of the entry in the change feed, and key of the only value


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key of this server, for one algorithm: a private key, or the public half if the key is retired."""

    kid: str
    algorithm: str
    key: Key


@dataclass(frozen=True, slots=True)
class _KeySet:
    current_by_algorithm: dict[str, SigningKey]
    by_kid: dict[str, SigningKey]
    retired_by_kid: dict[str, SigningKey]  # public halves
    jwks: bytes
    read_at: float
    reload_at: float  # when a key becomes active or is retired next
    pairwise_salt: bytes | None


class KeyRing:
    """Cache of the signing keys in the database.

    They are read once, and again after one of them has changed, becomes active or is retired.
    """

    def __init__(self, store: Store, cipher: Cipher, feed: ChangeFeed) -> None:
        self._store = store
        self._cipher = cipher
        self._cached: FeedCache[str, _KeySet] = FeedCache(feed, self._load, _changed_subject, max_entries=1)

    def invalidate_cache(self) -> None:
        """Drop the cached signing keys, because those in the database have changed."""
        self._cached.clear()

    def get_signing_key(self, algorithm: str, now: float) -> SigningKey:
        """Return the key that currently signs with this algorithm. It is created if the algorithm has none yet.

        :param now: seconds since 1970.
        :raises StoreUnavailable: if the database has no signing keys at all, or is unavailable.
        """
        key = self._get_key_set(now).current_by_algorithm.get(algorithm) or self._reload(now).current_by_algorithm.get(
            algorithm
        )
        if key is None:
            if not self._get_key_set(now).current_by_algorithm:
                raise _no_signing_keys()
            create_key_for_algorithm(self._store, self._cipher, algorithm, now)
            key = self._reload(now).current_by_algorithm[algorithm]
        return key

    def check(self, now: float) -> None:
        """Check that there are signing keys and that they can be decrypted. Nothing is created.

        :param now: seconds since 1970.
        :raises StoreUnavailable: if there are none, or the encryption key is missing or another one.
        """
        if not self._get_key_set(now).by_kid:
            raise _no_signing_keys()

    def find(self, kid: str, now: float) -> SigningKey | None:
        """Return the signing key with this ``kid``, or ``None`` if there is none or it is retired.

        If the key is not cached, the database is read again, at most twice a second: another process may have created
        the key.
        """
        keys = self._get_key_set(now)
        if kid not in keys.by_kid and not 0 <= now - keys.read_at <= _MIN_RELOAD_INTERVAL_S:
            keys = self._reload(now)
        return keys.by_kid.get(kid)

    def find_retired(self, kid: str, now: float) -> SigningKey | None:
        """Return the public half of the retired key with this ``kid``, or ``None`` if there is none.

        Keys that an emergency rotation revoked are never returned. What a retired key signed is not proof; use it only
        to read an expired ID token that a client sends as ``id_token_hint``.
        """
        return self._get_key_set(now).retired_by_kid.get(kid)

    def jwks(self, now: float) -> bytes:
        """Return the JWK set with the public keys that verify this server's signatures, as JSON."""
        return self._get_key_set(now).jwks

    def pairwise_salt(self, now: float) -> bytes:
        """Return the random salt that makes pairwise subject identifiers unguessable (OpenID Connect Core §8.1).

        The salt never changes.

        :raises StoreUnavailable: if the store has no salt or cannot be read.
        """
        salt = self._get_key_set(now).pairwise_salt
        if salt is None:
            raise StoreUnavailable("the database has no salt for pairwise subjects: run `valetkey init`")
        return salt

    def _reload(self, now: float) -> _KeySet:
        keys = self._cached.load(_CHANGED_SUBJECT, now)
        assert keys is not None  # ``_load`` returns a key set, if only an empty one
        return keys

    def _get_key_set(self, now: float) -> _KeySet:
        keys = self._cached.find(_CHANGED_SUBJECT)
        return self._reload(now) if keys is None or now >= keys.reload_at else keys

    def _load(self, _key: str, now: float) -> _KeySet:
        all_rows = signing_keys.list_all(self._store)
        salts = [
            self._cipher.decrypt(row.private, SIGNING_KEYS.row_id(kid=row.kid))
            for row in all_rows
            if row.kid == PAIRWISE_SALT_KID
        ]
        rows = [row for row in all_rows if _is_in_use(row, now)]
        by_kid = {row.kid: SigningKey(row.kid, row.algorithm, load_private_key(row, self._cipher)) for row in rows}
        # The newest active key signs. If none is active yet, because the clock of the process that created the first
        # one was ahead, it signs already.
        current = {row.algorithm: by_kid[row.kid] for row in reversed(rows)}
        current |= {row.algorithm: by_kid[row.kid] for row in rows if row.active_at <= now}
        jwks = encode_json({"keys": [dict(row.public_jwk) for row in rows]})
        change_times = [time for row in rows for time in (row.active_at, row.retired_at) if time and time > now]
        reload_at = min(change_times, default=float("inf"))
        retired = {
            row.kid: SigningKey(row.kid, row.algorithm, load_public_key(row))
            for row in all_rows
            if _is_retired(row, now)
        }
        return _KeySet(current, by_kid, retired, jwks, now, reload_at, next(iter(salts), None))


def _changed_subject(entry: ChangeFeedEntry) -> str | None:
    return _CHANGED_SUBJECT if entry.kind == "changed" and entry.subject == _CHANGED_SUBJECT else None


def _is_in_use(row: SigningKeyRow, now: float) -> bool:
    # A key that an emergency rotation erased ends at once, also if the clock of the process that did it was ahead.
    is_signing_key = row.kid != PAIRWISE_SALT_KID and len(row.private) > 0
    return is_signing_key and (row.retired_at is None or row.retired_at > now)


def _no_signing_keys() -> StoreUnavailable:
    return StoreUnavailable("the database has no signing keys: run `valetkey init`")


def _is_retired(row: SigningKeyRow, now: float) -> bool:
    has_ended = row.kid != PAIRWISE_SALT_KID and row.retired_at is not None and row.retired_at <= now
    return has_ended and len(row.private) > 0  # an emergency rotation erases the private half
