"""Signing keys and their rotation, encryption at rest, and the clock that servers share."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, signing_keys, tables
from valetkey.storage.engine.clock import store_clock
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.tokens.encryption import Cipher, decrypt_with_secret, encrypt_with_secret, generate_encryption_key
from valetkey.tokens.key_rotation import rotation_statements
from valetkey.tokens.revoke_all import revoke_everything


def make_cipher(*keys: str) -> Cipher:
    return Cipher(Settings(encryption_keys=keys))


def test_a_value_can_be_decrypted_in_its_own_row_only() -> None:
    cipher = make_cipher(ENCRYPTION_KEY)
    ciphertext = cipher.encrypt(b"private", "signing_keys:a")

    assert cipher.decrypt(ciphertext, "signing_keys:a") == b"private"
    assert b"private" not in ciphertext
    assert ciphertext != cipher.encrypt(b"private", "signing_keys:a")
    with pytest.raises(StoreUnavailable, match="changed or moved"):
        cipher.decrypt(ciphertext, "signing_keys:b")
    with pytest.raises(StoreUnavailable, match="changed or moved"):
        cipher.decrypt(ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]), "signing_keys:a")


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    old, new = generate_encryption_key(), generate_encryption_key()
    ciphertext = make_cipher(old).encrypt(b"x", "row")
    both = make_cipher(new, old)

    assert both.decrypt(ciphertext, "row") == b"x"
    assert make_cipher(new).decrypt(both.encrypt(b"y", "row"), "row") == b"y"
    with pytest.raises(StoreUnavailable, match="set encryption_keys"):
        make_cipher(new).decrypt(ciphertext, "row")


def test_an_encryption_key_is_on_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, link = os.fsync, os.link

    def record_fsync(descriptor: int) -> None:
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.partition('.key')[0]}")
        fsync(descriptor)

    def record_link(source: Path, target: Path) -> None:
        assert len(source.read_text()) > 40
        events.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)

    Cipher(Settings(data_dir=str(tmp_path))).create_key_file()

    assert events == ["sync encryption", "link", f"sync {tmp_path.name}"]
    assert [file.name for file in tmp_path.iterdir()] == ["encryption.key"]


def test_an_encryption_key_behind_a_symbolic_link_is_created_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "encryption.key").symlink_to(tmp_path / "secrets" / "key")
    cipher = Cipher(Settings(data_dir=str(tmp_path)))

    cipher.create_key_file()

    assert cipher.decrypt(cipher.encrypt(b"x", "row"), "row") == b"x"
    assert stat.S_IMODE((tmp_path / "secrets" / "key").stat().st_mode) == 0o600


def test_an_encryption_key_is_generated_once_in_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "var"))
    Cipher(settings).create_key_file()
    ciphertext = Cipher(settings).encrypt(b"x", "row")
    Cipher(settings).create_key_file()

    assert Cipher(settings).decrypt(ciphertext, "row") == b"x"
    assert (tmp_path / "var" / "encryption.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreUnavailable, match="set data_dir"):
        Cipher(Settings(data_dir="/proc/valetkey")).create_key_file()


@pytest.mark.parametrize("content", [None, "", "c2hvcnQ="])
def test_a_missing_or_damaged_key_file_is_reported_and_not_replaced(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "encryption.key"
    if content is not None:
        file.write_text(content)
    cipher = Cipher(Settings(data_dir=str(tmp_path)))

    for use in (lambda: cipher.encrypt(b"x", "row"), lambda: cipher.compute_hmacs("csrf", "x")):
        with pytest.raises(StoreUnavailable, match="put the file back"):
            use()

    assert (file.read_text() if file.exists() else None) == content


def test_what_is_encrypted_with_a_secret_can_be_decrypted_with_that_secret_only() -> None:
    ciphertext = encrypt_with_secret("secret", b"answer")

    assert decrypt_with_secret("secret", ciphertext) == b"answer"
    assert decrypt_with_secret("other", ciphertext) is None


def test_private_keys_are_encrypted_in_the_store(runtime: Runtime) -> None:
    for row in signing_keys.list_all(runtime.store):
        assert b"PRIVATE" not in bytes(row.private)
        assert not {"d", "p", "q"} & row.public_jwk.keys()


@pytest.mark.parametrize("emergency", [False, True], ids=["planned", "emergency"])
def test_a_planned_rotation_keeps_old_tokens_valid_and_an_emergency_rotation_revokes_them(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, emergency: bool
) -> None:
    app = make_app(sqlite_store_url)
    runtime: Runtime = app.extensions["valetkey"]
    machine = Browser(app.test_client(), register_client(runtime, runtime.clock(), name="R", policy="machine"))
    old = machine.request_token("client_credentials").json["access_token"]
    rows = rotation_statements(
        runtime.store, runtime.cipher, clock(), publish_ahead_s=600, token_lifetime_s=900, emergency=emergency
    )
    runtime.store.write(Transaction(rows=rows))
    runtime.keys.invalidate_cache()
    runtime.verifier.invalidate_cache()

    kids = {key["kid"] for key in machine.get("/oauth/jwks").json["keys"]}
    new = machine.request_token("client_credentials").json["access_token"]

    assert len(kids) == (2 if emergency else 4)
    assert machine.call(old).status_code == (401 if emergency else 200)
    assert machine.call(new).status_code == 200
    assert (header(new) == header(old)) is not emergency, (
        "a new key signs only after it was published ahead, unless in an emergency"
    )
    clock.forward(seconds=601)
    later = machine.request_token("client_credentials").json["access_token"]
    assert header(later) != header(old)
    assert machine.call(later).status_code == 200
    clock.forward(seconds=901)
    assert len(machine.get("/oauth/jwks").json["keys"]) == 2


@pytest.mark.parametrize("emergency", [False, True], ids=["planned", "emergency"])
def test_a_rotation_with_another_encryption_key_is_refused(runtime: Runtime, clock: Clock, emergency: bool) -> None:
    other = make_cipher(generate_encryption_key())

    with pytest.raises(StoreUnavailable, match="was encrypted with another key"):
        rotation_statements(runtime.store, other, clock(), publish_ahead_s=0, token_lifetime_s=0, emergency=emergency)


def test_nothing_is_revoked_with_another_encryption_key(runtime: Runtime, clock: Clock) -> None:
    keys, entries = signing_keys.list_all(runtime.store), change_feed.read(runtime.store, None).entries

    with pytest.raises(StoreUnavailable, match="was encrypted with another key"):
        revoke_everything(runtime.store, make_cipher(generate_encryption_key()), clock(), "tokens.all_revoked")

    assert signing_keys.list_all(runtime.store) == keys
    assert change_feed.read(runtime.store, None).entries == entries


def header(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[0] + "==")


def test_servers_that_share_a_postgresql_database_agree_on_the_time(postgresql_store_url: str) -> None:
    store = open_store(postgresql_store_url)
    ahead, behind = (store_clock(store, Clock(1_900_000_000.0 + error_s)) for error_s in (500, -500))

    assert abs(ahead() - behind()) < 5
    store.close()


def test_with_sqlite_the_local_clock_is_used(sqlite_store_url: str) -> None:
    store = open_store(sqlite_store_url)

    assert store_clock(store, Clock(5.0))() == 5.0
    store.close()


def test_the_local_clock_is_used_while_the_database_is_unreachable() -> None:
    store = open_store("postgresql://user@127.0.0.1:1/none")

    assert store_clock(store, Clock(5.0))() == 5.0
    store.close()


def test_two_processes_create_one_key_per_algorithm_and_find_keys_that_the_other_created(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    first, second = (make_app(sqlite_store_url).extensions["valetkey"] for _ in range(2))
    second.keys.jwks(clock())
    created = first.keys.get_signing_key("PS256", clock())

    assert second.keys.get_signing_key("PS256", clock()).kid == created.kid
    assert [row.algorithm for row in signing_keys.list_all(first.store)].count("PS256") == 1

    later = first.keys.get_signing_key("Ed25519", clock())
    assert second.keys.find(later.kid, clock()) is None  # it has just read the store
    clock.forward(seconds=0.6)
    key = second.keys.find(later.kid, clock())
    assert key is not None and key.algorithm == "Ed25519"


@pytest.mark.parametrize("emergency", [False, True], ids=["first keys", "emergency rotation"])
def test_keys_of_a_process_whose_clock_is_ahead_are_used_at_once(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, emergency: bool
) -> None:
    app = make_app(sqlite_store_url)
    runtime: Runtime = app.extensions["valetkey"]
    machine = Browser(app.test_client(), register_client(runtime, runtime.clock(), name="R", policy="machine"))
    old = machine.request_token("client_credentials").json["access_token"]
    rows = rotation_statements(
        runtime.store, runtime.cipher, clock() + 20, publish_ahead_s=0, token_lifetime_s=900, emergency=emergency
    )
    removal = () if emergency else (Statement(delete(tables.signing_keys))(),)
    runtime.store.write(Transaction(rows=(*removal, *rows, change_feed.add("changed", "keys"))))

    new = machine.request_token("client_credentials").json["access_token"]

    assert header(new) != header(old)
    assert machine.call(new).status_code == 200
    assert machine.call(old).status_code == 401


def test_a_request_to_a_store_without_keys_creates_none(make_app: MakeApp, sqlite_store_url: str, clock: Clock) -> None:
    runtime: Runtime = make_app(sqlite_store_url).extensions["valetkey"]
    runtime.store.write(
        Transaction(rows=tuple(signing_keys.retire(row.kid, 1.0) for row in signing_keys.list_all(runtime.store)))
    )
    runtime.keys.invalidate_cache()

    for algorithm in ("ES256", "PS256"):
        with pytest.raises(StoreUnavailable, match="valetkey init"):
            runtime.keys.get_signing_key(algorithm, clock())
