"""Device codes: user codes are unique, a code is decided once, and consumed once if its grant is not revoked."""

from __future__ import annotations

from dataclasses import replace

from tests.support.clock import NOW
from valetkey.storage import device_codes, grants
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant

CODE = DeviceCode(b"1" * 32, "WDJBMJHT", "tv", "a b", '["https://api.example"]', 5.0, NOW + 600)
GRANT = Grant("g", "tv", "ada", "a b", '["https://api.example"]', NOW, None, None, NOW, NOW + 900)


def test_a_device_code_is_read_as_it_was_written(store: Store) -> None:
    assert store.write(Transaction(device_codes.add(CODE)))

    assert device_codes.find(store, CODE.digest) == device_codes.find_by_user_code(store, "WDJBMJHT") == CODE
    assert device_codes.find(store, b"2" * 32) is None
    assert CODE.resource_list == ("https://api.example",)


def test_two_devices_cannot_have_the_same_user_code(store: Store) -> None:
    assert store.write(Transaction(device_codes.add(CODE)))

    assert not store.write(Transaction(device_codes.add(replace(CODE, digest=b"2" * 32))))


def test_a_device_code_can_be_decided_only_once(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))
    assert store.write(Transaction(device_codes.decide(CODE.digest, "g", NOW)))

    assert not store.write(Transaction(device_codes.decide(CODE.digest, None, NOW)))


def test_an_expired_device_code_cannot_be_decided(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))

    assert not store.write(Transaction(device_codes.decide(CODE.digest, "g", CODE.expires_at)))


def test_a_device_code_can_be_consumed_only_once(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE), (grants.add(GRANT), device_codes.decide(CODE.digest, "g", NOW))))
    assert store.write(Transaction(device_codes.consume(CODE.digest, NOW)))

    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))


def test_a_device_code_without_a_grant_or_with_a_revoked_grant_cannot_be_consumed(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))
    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))
    store.write(Transaction(rows=(grants.add(GRANT), device_codes.decide(CODE.digest, "g", NOW))))
    store.write(Transaction(rows=(grants.revoke("g", NOW),)))

    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))
