"""Encrypt everything in the database with the first encryption key, so that the other ones can be removed."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.storage.encrypted_columns import ENCRYPTED_COLUMNS, EncryptedColumn
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

from .encryption import Cipher


def reencrypt_all(store: Store, cipher: Cipher, report: Callable[[str, int], None]) -> dict[str, int]:
    """Encrypt all values that were encrypted with another key than the first one again, with the first one.

    Values that a server changes meanwhile stay as the server writes them. If this is interrupted, all values can be
    decrypted, and it can be run again.

    :param report: called after each batch with what its values are, such as ``private keys``, and how many were
        encrypted again.
    :returns: how many values cannot be decrypted with any key, by what they are.
    :raises StoreUnavailable: if the database does not respond.
    """
    return {
        column.label: failures
        for column in ENCRYPTED_COLUMNS
        if (failures := _reencrypt(column, store, cipher, report))
    }


def _reencrypt(column: EncryptedColumn, store: Store, cipher: Cipher, report: Callable[[str, int], None]) -> int:
    """Encrypt the values of one column again. Return how many cannot be decrypted."""
    failures, last = 0, None
    while batch := column.list_batch(store, last):
        statements = list[BoundStatement]()
        for value in batch:
            if cipher.uses_first_key(value.ciphertext):
                continue
            try:
                plaintext = cipher.decrypt(value.ciphertext, value.row_id)
            except StoreUnavailable:
                failures += 1
                continue
            statements.append(column.replace(value, cipher.encrypt(plaintext, value.row_id)))
        if statements:
            store.write(Transaction(rows=tuple(statements)))
            report(column.label, len(statements))
        last = batch[-1]
    return failures
