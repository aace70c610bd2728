"""Personal access tokens in the store: found while active, revoked by their owner only, each reminder recorded once."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from tests.support.clock import NOW
from tests.support.store_assertions import count_rows
from valetkey.authorization_server.clients.service import client_revocation_statements
from valetkey.outbound.pruning import prune
from valetkey.storage import change_feed, grants, personal_access_tokens
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement, sql_and_values
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant
from valetkey.storage.personal_access_tokens import PersonalToken

DAY = 86400.0
DIGEST_1, DIGEST_2, DIGEST_3 = b"1" * 32, b"\x00\xff" * 16, b"3" * 32
TOKEN = PersonalToken("t", DIGEST_1, "ada", "Bäckup", "vk_pat_abcd", "a b", '["https://a"]', NOW, NOW + 30 * DAY)
GRANT = Grant("g", "shop", "ada", "a b", "[]", None, None, None, NOW, NOW + 100)


def put(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def test_a_token_is_found_as_it_was_written_until_it_expires(store: Store) -> None:
    assert store.write(Transaction(personal_access_tokens.add(TOKEN)))

    assert personal_access_tokens.find_active(store, DIGEST_1, NOW + 30 * DAY - 1) == TOKEN
    assert personal_access_tokens.find_active(store, DIGEST_1, NOW + 30 * DAY) is None
    assert personal_access_tokens.find_active(store, DIGEST_2, NOW) is None
    assert personal_access_tokens.find(store, "t") == TOKEN
    assert TOKEN.resource_list == ("https://a",)


def test_a_form_that_is_submitted_twice_creates_one_token(store: Store) -> None:
    assert store.write(Transaction(personal_access_tokens.add(TOKEN)))
    assert not store.write(Transaction(personal_access_tokens.add(replace(TOKEN, digest=DIGEST_2))))

    assert personal_access_tokens.find_active(store, DIGEST_2, NOW) is None


def test_only_the_owners_tokens_are_listed_newest_first(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="late", digest=DIGEST_2, created_at=NOW + 1)))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="eves", digest=DIGEST_3, owner="eve")))

    assert [token.token_id for token in personal_access_tokens.list_by_owner(store, "ada")] == ["late", "t"]
    assert len(personal_access_tokens.list_all(store)) == 3


def test_a_token_is_revoked_only_by_its_owner_and_only_once(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    assert not store.write(Transaction(personal_access_tokens.revoke("t", "eve", NOW)))
    assert store.write(Transaction(personal_access_tokens.revoke("t", "ada", NOW)))
    assert not store.write(Transaction(personal_access_tokens.revoke("t", "ada", NOW + 1)))
    assert personal_access_tokens.find_active(store, DIGEST_1, NOW) is None
    assert personal_access_tokens.list_by_owner(store, "ada")[0].revoked_at == NOW


def test_revoking_an_owners_tokens_leaves_other_owners_tokens_active(store: Store) -> None:
    put(
        store,
        personal_access_tokens.add(TOKEN),
        personal_access_tokens.add(replace(TOKEN, token_id="e", digest=DIGEST_2, owner="eve")),
    )

    put(store, personal_access_tokens.revoke_all_of_owner("ada", NOW))

    assert personal_access_tokens.find_active(store, DIGEST_1, NOW) is None
    assert personal_access_tokens.find_active(store, DIGEST_2, NOW) is not None


def test_a_token_that_a_client_created_is_not_found_after_the_clients_grant_is_revoked(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))
    assert personal_access_tokens.find_active(store, DIGEST_1, NOW) is not None

    put(store, grants.revoke("g", NOW))

    assert personal_access_tokens.find_active(store, DIGEST_1, NOW) is None


def test_revoking_a_client_revokes_the_tokens_it_created_and_adds_them_to_the_change_feed(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="own", digest=DIGEST_2)))

    put(store, *personal_access_tokens.client_revocation_statements("shop", NOW))

    assert [(entry.kind, entry.subject) for entry in change_feed.read(store, None).entries] == [("token", "t")]
    assert personal_access_tokens.find_active(store, DIGEST_1, NOW) is None
    assert personal_access_tokens.find_active(store, DIGEST_2, NOW) is not None


def test_the_last_use_is_stored(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    put(store, personal_access_tokens.set_last_used("t", NOW + 7))

    token = personal_access_tokens.find(store, "t")
    assert token and token.last_used_at == NOW + 7


def test_a_token_is_not_added_to_a_grant_that_is_revoked_or_does_not_exist(store: Store) -> None:
    token = replace(TOKEN, grant_id="g")
    assert not store.write(Transaction(personal_access_tokens.add(token)))
    put(store, grants.add(GRANT), grants.revoke("g", NOW))
    assert not store.write(Transaction(personal_access_tokens.add(token)))

    assert personal_access_tokens.list_all(store) == []


def test_the_end_of_a_client_waits_for_an_uncommitted_token_and_revokes_it(postgresql_store_url: str) -> None:
    store = open_store(postgresql_store_url)
    put(store, grants.add(GRANT))
    addition = personal_access_tokens.add(replace(TOKEN, grant_id="g"))
    with psycopg.connect(postgresql_store_url) as held:
        for statement in (*addition.locks, addition):
            held.execute(*sql_and_values(statement, "postgresql", lambda: NOW))
        revoking = threading.Thread(target=put, args=(store, *client_revocation_statements("shop", NOW)))
        revoking.start()
        revoking.join(0.3)
        assert revoking.is_alive()
    revoking.join()

    token = personal_access_tokens.find(store, "t")
    assert token and token.revoked_at == NOW
    assert [entry.subject for entry in change_feed.read(store, None).entries] == ["t", "shop"]
    store.close()


@pytest.mark.parametrize(("days_left", "due_reminders"), [(8.0, []), (6.9, [7]), (0.9, [1, 7]), (0.0, [])])
def test_reminders_are_due_only_before_the_token_expires(
    store: Store, days_left: float, due_reminders: list[int]
) -> None:
    put(store, personal_access_tokens.add(TOKEN))
    now = TOKEN.expires_at - days_left * DAY

    assert [days for days in (1, 7) if personal_access_tokens.list_due_for_reminder(store, days, now)] == due_reminders


def test_each_reminder_is_recorded_once_and_a_later_one_replaces_the_earlier(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    assert store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert not store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert store.write(Transaction(personal_access_tokens.mark_reminded("t", 1)))
    assert not store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert personal_access_tokens.list_due_for_reminder(store, 7, TOKEN.expires_at - 1) == []


def test_a_token_is_pruned_90_days_after_it_expires(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    prune(store, TOKEN.expires_at + 90 * DAY)
    assert count_rows(store, "valetkey_personal_access_tokens") == 1
    prune(store, TOKEN.expires_at + 90 * DAY + 1)
    assert count_rows(store, "valetkey_personal_access_tokens") == 0


def test_the_grant_of_an_active_token_is_not_pruned(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))

    prune(store, NOW + 20 * DAY)

    assert grants.find(store, "g") is not None
    assert personal_access_tokens.find_active(store, DIGEST_1, NOW + 20 * DAY) is not None
