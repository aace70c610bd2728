"""``reencrypt_all``: afterwards the first encryption key alone decrypts everything that is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary

from tests.support.app import ENCRYPTION_KEY
from tests.support.clock import NOW
from tests.support.valetkey_server import Deployment
from valetkey.settings import Settings
from valetkey.storage import encrypted_columns, idempotency_keys, provider_links
from valetkey.storage.encrypted_columns import ENCRYPTED_COLUMNS, PROVIDER_TOKENS, SIGNING_KEYS, STORED_RESPONSES
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.storage.provider_links import ProviderLink
from valetkey.storage.tables import metadata
from valetkey.tokens.encryption import Cipher, generate_encryption_key
from valetkey.tokens.reencryption import reencrypt_all

# Columns with bytes that are not encrypted: digests of secrets, and responses that only a token decrypts.
NOT_ENCRYPTED = {
    *("access_tokens.digest", "assertions.digest", "audit.count_key", "client_secrets.digest", "codes.digest"),
    *("device_codes.digest", "idempotency_keys.digest", "idempotency_keys.request", "initial_access_tokens.digest"),
    *("interactions.browser", "interactions.digest", "mail_links.digest", "personal_access_tokens.digest"),
    *("provider_requests.browser", "provider_requests.digest", "refresh_tokens.digest", "refresh_tokens.parent"),
    *("refresh_tokens.successor", "registrations.digest", "retry_answers.answer", "retry_answers.digest"),
    *("retry_answers.request", "sessions.browser", "sessions.digest"),
}
NEW_KEY = generate_encryption_key()
OLD, BOTH, NEW = (
    Cipher(Settings(encryption_keys=keys)) for keys in ((ENCRYPTION_KEY,), (NEW_KEY, ENCRYPTION_KEY), (NEW_KEY,))
)


@pytest.fixture
def store(unshared_store_url: str) -> Iterator[Store]:
    """A store with signing keys, provider tokens and stored responses, encrypted with the old key."""
    store = open_store(unshared_store_url)
    for number in range(5):
        digest, subject = bytes([number]) * 32, f"subject {number}"
        link = ProviderLink(subject, "https://idp.example/{x}", f"sub {number}", None, NOW)
        tokens = OLD.encrypt(b"tokens", PROVIDER_TOKENS.row_id(issuer=link.issuer, subject=subject))
        response = OLD.encrypt(b"response", STORED_RESPONSES.row_id(digest=digest.hex()))
        store.write_all(
            provider_links.add(link),
            provider_links.set_tokens(link.issuer, subject, tokens),
            idempotency_keys.reserve(digest, b"", NOW, abandoned_before=NOW - 1, expires_at=NOW + 9),
            idempotency_keys.save_response(digest, NOW, 200, response),
        )
    yield store
    store.close()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two rows, so that a table has several."""
    for column in ENCRYPTED_COLUMNS:
        monkeypatch.setattr(encrypted_columns, "_MAX_ROWS_PER_BATCH", 2)
        small = encrypted_columns.EncryptedColumn(column.column, column.label, column._row_id_format)
        monkeypatch.setattr(column, "_first_batch", small._first_batch)
        monkeypatch.setattr(column, "_next_batch", small._next_batch)


def decrypt_all(store: Store, cipher: Cipher) -> list[bytes]:
    """Return all values in the encrypted columns, decrypted."""
    plaintexts = list[bytes]()
    for column in ENCRYPTED_COLUMNS:
        last = None
        while batch := column.list_batch(store, last):
            plaintexts += [cipher.decrypt(value.ciphertext, value.row_id) for value in batch]
            last = batch[-1]
    return plaintexts


def test_each_column_with_bytes_is_encrypted_again_or_not_encrypted() -> None:
    columns = {
        f"{table.name.removeprefix('valetkey_')}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    encrypted = {f"{each.column.table.name.removeprefix('valetkey_')}.{each.column.name}" for each in ENCRYPTED_COLUMNS}

    assert columns - encrypted == NOT_ENCRYPTED


def test_afterwards_the_first_key_alone_decrypts_everything(store: Store) -> None:
    before = decrypt_all(store, OLD)
    counts: dict[str, int] = {}

    failures = reencrypt_all(store, BOTH, lambda label, n: counts.update({label: counts.get(label, 0) + n}))

    assert failures == {}
    assert decrypt_all(store, NEW) == before
    assert counts == {"private keys": len(before) - 10, "tokens of providers": 5, "stored responses": 5}
    reported: list[str] = []
    assert reencrypt_all(store, NEW, lambda label, _: reported.append(label)) == {}
    assert reported == [], "nothing is left to encrypt again"


def test_after_an_interruption_nothing_is_lost_and_it_can_be_run_again(store: Store) -> None:
    before = decrypt_all(store, OLD)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reencrypt_all(store, BOTH, interrupt)

    assert decrypt_all(store, BOTH) == before
    reencrypt_all(store, BOTH, lambda *_: None)
    assert decrypt_all(store, NEW) == before


def test_values_that_no_key_decrypts_are_counted_and_the_others_are_encrypted_again(store: Store) -> None:
    (first, *_) = PROVIDER_TOKENS.list_batch(store, None)
    lost = Cipher(Settings(encryption_keys=(generate_encryption_key(),))).encrypt(b"", first.row_id)
    store.write_all(PROVIDER_TOKENS.replace(first, lost))

    assert reencrypt_all(store, BOTH, lambda *_: None) == {"tokens of providers": 1}

    with pytest.raises(StoreUnavailable):
        decrypt_all(store, NEW)
    assert all(NEW.uses_first_key(value.ciphertext) for value in SIGNING_KEYS.list_batch(store, None))


def test_a_value_that_a_server_has_changed_meanwhile_stays(store: Store) -> None:
    (value, *_) = PROVIDER_TOKENS.list_batch(store, None)
    store.write_all(PROVIDER_TOKENS.replace(value, b"of the server"))

    store.write_all(PROVIDER_TOKENS.replace(value, b"stale"))

    assert PROVIDER_TOKENS.list_batch(store, None)[0].ciphertext == b"of the server"


def test_the_operator_replaces_the_key_of_the_data_directory_with_another_one(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    old = (tmp_path / "encryption.key").read_text().strip()
    only_new = Deployment(tmp_path, settings={"encryption_keys": [NEW_KEY]})
    with pytest.raises(AssertionError, match="the database was encrypted with another key than encryption_keys has"):
        only_new.run("check")

    both = Deployment(tmp_path, settings={"encryption_keys": [NEW_KEY, old]})
    printed = both.run("keys", "reencrypt")

    assert printed == (
        "Encrypted again: 3 private keys\n"
        "All secrets are encrypted with the first key; no other key in encryption_keys is needed.\n"
    )
    (tmp_path / "encryption.key").unlink()
    assert "Ready to serve" in only_new.run("check")
    only_other = Deployment(tmp_path, settings={"encryption_keys": [generate_encryption_key()]})
    with pytest.raises(AssertionError, match="no key in encryption_keys decrypts them: 3 private keys"):
        only_other.run("keys", "reencrypt")
