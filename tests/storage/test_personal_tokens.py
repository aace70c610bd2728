"""Personal access tokens in the store: found while they live, ended for their owner, reminded of once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.storage.conftest import NOW
from tests.support.browser_client import count_rows
from valetkey.outbound.worker import prune
from valetkey.storage import change_feed, grants, personal_access_tokens
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant
from valetkey.storage.personal_access_tokens import PersonalToken

DAY = 86400.0
ONE, TWO, THREE = b"1" * 32, b"\x00\xff" * 16, b"3" * 32
TOKEN = PersonalToken("t", ONE, "ada", "Bäckup", "vk_pat_abcd", "a b", '["https://a"]', NOW, NOW + 30 * DAY)
GRANT = Grant("g", "shop", "ada", "a b", "[]", None, None, None, NOW, NOW + 100)


def put(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def test_a_token_comes_back_as_it_was_until_it_is_over(store: Store) -> None:
    assert store.write(Transaction(personal_access_tokens.add(TOKEN)))

    assert personal_access_tokens.find_active(store, ONE, NOW + 30 * DAY - 1) == TOKEN
    assert personal_access_tokens.find_active(store, ONE, NOW + 30 * DAY) is None
    assert personal_access_tokens.find_active(store, TWO, NOW) is None
    assert personal_access_tokens.find(store, "t") == TOKEN
    assert TOKEN.resource_list == ("https://a",)


def test_the_same_form_makes_one_token(store: Store) -> None:
    assert store.write(Transaction(personal_access_tokens.add(TOKEN)))
    assert not store.write(Transaction(personal_access_tokens.add(replace(TOKEN, digest=TWO))))

    assert personal_access_tokens.find_active(store, TWO, NOW) is None


def test_a_persons_tokens_are_listed_newest_first_and_nobody_elses(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="late", digest=TWO, created_at=NOW + 1)))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="eves", digest=THREE, owner="eve")))

    assert [one.token_id for one in personal_access_tokens.list_by_owner(store, "ada")] == ["late", "t"]
    assert len(personal_access_tokens.list_all(store)) == 3


def test_only_its_owner_ends_a_token_and_only_once(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    assert not store.write(Transaction(personal_access_tokens.revoke("t", "eve", NOW)))
    assert store.write(Transaction(personal_access_tokens.revoke("t", "ada", NOW)))
    assert not store.write(Transaction(personal_access_tokens.revoke("t", "ada", NOW + 1)))
    assert personal_access_tokens.find_active(store, ONE, NOW) is None
    assert personal_access_tokens.list_by_owner(store, "ada")[0].revoked_at == NOW


def test_whoever_is_put_out_loses_all_tokens(store: Store) -> None:
    put(
        store,
        personal_access_tokens.add(TOKEN),
        personal_access_tokens.add(replace(TOKEN, token_id="e", digest=TWO, owner="eve")),
    )

    put(store, personal_access_tokens.revoke_all_of_owner("ada", NOW))

    assert personal_access_tokens.find_active(store, ONE, NOW) is None
    assert personal_access_tokens.find_active(store, TWO, NOW) is not None


def test_a_token_that_an_app_made_ends_with_the_apps_grant(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))
    assert personal_access_tokens.find_active(store, ONE, NOW) is not None

    put(store, grants.revoke("g", NOW))

    assert personal_access_tokens.find_active(store, ONE, NOW) is None


def test_an_app_that_is_put_out_takes_its_tokens_along_and_the_feed_tells(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))
    put(store, personal_access_tokens.add(replace(TOKEN, token_id="own", digest=TWO)))

    put(store, *personal_access_tokens.client_revocation_statements("shop", NOW, NOW + 50))

    assert [(one.kind, one.subject) for one in change_feed.list_since(store, 0)] == [("token", "t")]
    assert personal_access_tokens.find_active(store, ONE, NOW) is None
    assert personal_access_tokens.find_active(store, TWO, NOW) is not None


def test_last_use_is_kept(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    put(store, personal_access_tokens.set_last_used("t", NOW + 7))

    found = personal_access_tokens.find(store, "t")
    assert found and found.last_used_at == NOW + 7


@pytest.mark.parametrize(("left", "due"), [(8.0, []), (6.9, [7]), (0.9, [1, 7]), (0.0, [])])
def test_owners_are_reminded_while_the_token_lives(store: Store, left: float, due: list[int]) -> None:
    put(store, personal_access_tokens.add(TOKEN))
    now = TOKEN.expires_at - left * DAY

    assert [days for days in (1, 7) if personal_access_tokens.list_due_for_reminder(store, days, now)] == due


def test_each_reminder_is_claimed_once_and_a_later_one_stands_for_the_earlier(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    assert store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert not store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert store.write(Transaction(personal_access_tokens.mark_reminded("t", 1)))
    assert not store.write(Transaction(personal_access_tokens.mark_reminded("t", 7)))
    assert personal_access_tokens.list_due_for_reminder(store, 7, TOKEN.expires_at - 1) == []


def test_a_token_is_forgotten_90_days_after_its_end(store: Store) -> None:
    put(store, personal_access_tokens.add(TOKEN))

    prune(store, TOKEN.expires_at + 90 * DAY)
    assert count_rows(store, "valetkey_personal_access_tokens") == 1
    prune(store, TOKEN.expires_at + 90 * DAY + 1)
    assert count_rows(store, "valetkey_personal_access_tokens") == 0


def test_the_grant_of_a_living_token_is_not_forgotten(store: Store) -> None:
    put(store, grants.add(GRANT), personal_access_tokens.add(replace(TOKEN, grant_id="g")))

    prune(store, NOW + 20 * DAY)

    assert grants.find(store, "g") is not None
    assert personal_access_tokens.find_active(store, ONE, NOW + 20 * DAY) is not None
