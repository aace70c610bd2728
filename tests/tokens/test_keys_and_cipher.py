"""Signing keys and their rotation, encryption at rest, the clock that machines agree on."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.conftest import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import Browser, Clock
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import signing_keys
from valetkey.storage.engine.clock import store_clock
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.tokens.encryption import Cipher, decrypt_with_secret, encrypt_with_secret, generate_encryption_key
from valetkey.tokens.key_rotation import rotation_statements


def cipher(*keys: str) -> Cipher:
    return Cipher(Settings(encryption_keys=keys))


def test_a_value_opens_in_its_own_row_only() -> None:
    one = cipher(ENCRYPTION_KEY)
    sealed = one.encrypt(b"private", "signing_keys:a")

    assert one.decrypt(sealed, "signing_keys:a") == b"private"
    assert b"private" not in sealed
    assert sealed != one.encrypt(b"private", "signing_keys:a")
    with pytest.raises(StoreUnavailable, match="changed or moved"):
        one.decrypt(sealed, "signing_keys:b")
    with pytest.raises(StoreUnavailable, match="changed or moved"):
        one.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), "signing_keys:a")


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    old, new = generate_encryption_key(), generate_encryption_key()
    sealed = cipher(old).encrypt(b"x", "row")
    both = cipher(new, old)

    assert both.decrypt(sealed, "row") == b"x"
    assert cipher(new).decrypt(both.encrypt(b"y", "row"), "row") == b"y"
    with pytest.raises(StoreUnavailable, match="set encryption_keys"):
        cipher(new).decrypt(sealed, "row")


def test_a_generated_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "var"))
    sealed = Cipher(settings).encrypt(b"x", "row")

    assert Cipher(settings).decrypt(sealed, "row") == b"x"
    assert (tmp_path / "var" / "encryption.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreUnavailable, match="set data_dir"):
        Cipher(Settings(data_dir="/proc/valetkey")).encrypt(b"x", "row")


def test_what_was_sealed_under_a_secret_opens_with_it_alone() -> None:
    sealed = encrypt_with_secret("secret", b"answer")

    assert decrypt_with_secret("secret", sealed) == b"answer"
    assert decrypt_with_secret("other", sealed) is None


def test_private_keys_are_ciphertext_in_the_store(runtime: Runtime) -> None:
    for row in signing_keys.list_all(runtime.store):
        assert b"PRIVATE" not in bytes(row.private)
        assert not {"d", "p", "q"} & row.public_jwk.keys()


@pytest.mark.parametrize("emergency", [False, True])
def test_keys_rotate_gracefully_or_at_once(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, emergency: bool
) -> None:
    app = make_app(sqlite_store_url)
    runtime: Runtime = app.extensions["valetkey"]
    robot = Browser(app.test_client(), register_client(runtime, name="R", policy="machine"))
    old = robot.request_token("client_credentials").json["access_token"]
    rows = rotation_statements(
        runtime.store, runtime.cipher, clock(), publish_ahead_s=600, token_lifetime_s=900, emergency=emergency
    )
    runtime.store.write(Transaction(rows=rows))
    runtime.keys.invalidate_cache()
    runtime.verifier.invalidate_cache()

    published = {key["kid"] for key in robot.get("/oauth/jwks").json["keys"]}
    new = robot.request_token("client_credentials").json["access_token"]

    assert len(published) == (2 if emergency else 4)
    assert robot.call(old).status_code == (401 if emergency else 200)
    assert robot.call(new).status_code == 200
    assert (header(new) == header(old)) is not emergency, "the next key signs when it was published long enough"
    clock.forward(seconds=601)
    later = robot.request_token("client_credentials").json["access_token"]
    assert header(later) != header(old)
    assert robot.call(later).status_code == 200
    clock.forward(seconds=901)
    assert len(robot.get("/oauth/jwks").json["keys"]) == 2


def header(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[0] + "==")


def test_machines_that_share_postgresql_agree_on_the_time(postgresql_store_url: str) -> None:
    store = open_store(postgresql_store_url)
    ahead, behind = (store_clock(store, Clock(1_900_000_000.0 + wrong)) for wrong in (500, -500))

    assert abs(ahead() - behind()) < 5
    store.close()


def test_the_clock_of_a_sqlite_store_is_ours(sqlite_store_url: str) -> None:
    store = open_store(sqlite_store_url)

    assert store_clock(store, Clock(5.0))() == 5.0
    store.close()


def test_a_database_that_does_not_answer_leaves_our_own_clock() -> None:
    store = open_store("postgresql://nobody@127.0.0.1:1/none")

    assert store_clock(store, Clock(5.0))() == 5.0
    store.close()


def test_two_processes_that_want_an_algorithm_make_one_key_and_know_each_others(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    one, other = (make_app(sqlite_store_url).extensions["valetkey"] for _ in range(2))
    other.keys.jwks(clock())
    made = one.keys.get_signing_key("PS256", clock())

    assert other.keys.get_signing_key("PS256", clock()).kid == made.kid
    assert [row.algorithm for row in signing_keys.list_all(one.store)].count("PS256") == 1

    late = one.keys.get_signing_key("Ed25519", clock())
    assert other.keys.find(late.kid, clock()) is None  # it read the store this very moment
    clock.forward(seconds=0.6)
    found = other.keys.find(late.kid, clock())
    assert found is not None and found.algorithm == "Ed25519"


def test_a_store_without_keys_gets_none_by_being_asked(make_app: MakeApp, sqlite_store_url: str, clock: Clock) -> None:
    runtime: Runtime = make_app(sqlite_store_url).extensions["valetkey"]
    runtime.store.write(
        Transaction(rows=tuple(signing_keys.retire(row.kid, 1.0) for row in signing_keys.list_all(runtime.store)))
    )
    runtime.keys.invalidate_cache()

    for algorithm in ("ES256", "PS256"):
        with pytest.raises(StoreUnavailable, match="valetkey init"):
            runtime.keys.get_signing_key(algorithm, clock())
