"""Device codes: one user code each, one answer in time, one redemption while the grant lives."""

from __future__ import annotations

from dataclasses import replace

from tests.storage.conftest import NOW
from valetkey.storage import device_codes, grants
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant

CODE = DeviceCode(b"1" * 32, "WDJBMJHT", "tv", "a b", '["https://api.example"]', 5.0, NOW + 600)
GRANT = Grant("g", "tv", "ada", "a b", '["https://api.example"]', NOW, None, None, NOW, NOW + 900)


def test_a_code_comes_back_as_it_was(store: Store) -> None:
    assert store.write(Transaction(device_codes.add(CODE)))

    assert device_codes.find(store, CODE.digest) == device_codes.find_by_user_code(store, "WDJBMJHT") == CODE
    assert device_codes.find(store, b"2" * 32) is None
    assert CODE.resource_list == ("https://api.example",)


def test_two_devices_never_show_the_same_code(store: Store) -> None:
    assert store.write(Transaction(device_codes.add(CODE)))

    assert not store.write(Transaction(device_codes.add(replace(CODE, digest=b"2" * 32))))


def test_an_answer_counts_once(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))
    assert store.write(Transaction(device_codes.decide(CODE.digest, "g", NOW)))

    assert not store.write(Transaction(device_codes.decide(CODE.digest, None, NOW)))


def test_an_answer_that_comes_too_late_does_not_count(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))

    assert not store.write(Transaction(device_codes.decide(CODE.digest, "g", CODE.expires_at)))


def test_a_code_is_consumed_once(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE), (grants.add(GRANT), device_codes.decide(CODE.digest, "g", NOW))))
    assert store.write(Transaction(device_codes.consume(CODE.digest, NOW)))

    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))


def test_a_code_whose_grant_was_revoked_or_never_given_is_not_consumed(store: Store) -> None:
    store.write(Transaction(device_codes.add(CODE)))
    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))
    store.write(Transaction(rows=(grants.add(GRANT), device_codes.decide(CODE.digest, "g", NOW))))
    store.write(Transaction(rows=(grants.revoke("g", NOW),)))

    assert not store.write(Transaction(device_codes.consume(CODE.digest, NOW)))
