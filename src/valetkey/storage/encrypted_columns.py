"""The columns whose values are encrypted with the setting ``encryption_keys``, and statements to encrypt them again."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Column, bindparam, func, select, tuple_, update

from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .tables import idempotency_keys, provider_links, signing_keys

_MAX_ROWS_PER_BATCH = 500


class EncryptedValue(NamedTuple):
    """An encrypted value in the database.

    :param key: the primary key of its row.
    :param row_id: names the row; the ciphertext can be decrypted only with it.
    """

    key: tuple[Any, ...]
    row_id: str
    ciphertext: bytes


class EncryptedColumn:
    """A column whose values are encrypted.

    :param label: what the values are, in the plural.
    :param row_id_format: text that binds a ciphertext to its row, with a placeholder for each primary key column.
    """

    def __init__(self, column: Column[Any], label: str, row_id_format: str) -> None:
        self.column = column
        self.label = label
        self._row_id_format = row_id_format
        key = tuple(column.table.primary_key.columns)
        self._key_names = tuple(each.name for each in key)
        rows = select(*key, column).where(func.length(column) > 0).order_by(*key).limit(_MAX_ROWS_PER_BATCH)
        after = tuple_(*(bindparam(f"after_{name}") for name in self._key_names))
        self._first_batch = Statement(rows)
        self._next_batch = Statement(rows.where(tuple_(*key) > after))
        self._replace = Statement(
            update(column.table)
            .where(*(each == bindparam(f"of_{each.name}") for each in key), column == bindparam("present"))
            .values({column.name: bindparam("replacement")})
        )

    def row_id(self, **key: str) -> str:
        """Return the text that binds the ciphertext to its row, from the columns of the primary key."""
        return self._row_id_format.format(**key)

    def list_batch(self, store: Store, after: EncryptedValue | None) -> list[EncryptedValue]:
        """Return the next 500 values at most, in the order of the primary key; none after the last one.

        :param after: the last value of the batch before; ``None`` for the first batch.
        """
        names = [f"after_{name}" for name in self._key_names]
        statement = self._next_batch(**dict(zip(names, after.key, strict=True))) if after else self._first_batch()
        return [self._read(tuple(row[:-1]), bytes(row[-1])) for row in store.fetch_all(statement)]

    def replace(self, value: EncryptedValue, ciphertext: bytes) -> BoundStatement:
        """Return the SQL statement, not yet run, that replaces a value, unless it has changed since it was read."""
        names = [f"of_{name}" for name in self._key_names]
        key = dict(zip(names, value.key, strict=True))
        return self._replace(**key, present=value.ciphertext, replacement=ciphertext)

    def _read(self, key: tuple[Any, ...], ciphertext: bytes) -> EncryptedValue:
        texts = [part if isinstance(part, str) else bytes(part).hex() for part in key]
        return EncryptedValue(key, self.row_id(**dict(zip(self._key_names, texts, strict=True))), ciphertext)


SIGNING_KEYS = EncryptedColumn(signing_keys.c.private, "private keys", "signing_keys:{kid}")
PROVIDER_TOKENS = EncryptedColumn(provider_links.c.tokens, "tokens of providers", "provider_links:{issuer}:{subject}")
STORED_RESPONSES = EncryptedColumn(idempotency_keys.c.answer, "stored responses", "valetkey_idempotency_keys {digest}")
ENCRYPTED_COLUMNS = (SIGNING_KEYS, PROVIDER_TOKENS, STORED_RESPONSES)
