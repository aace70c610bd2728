"""The change feed: a reader gets each committed entry once, in whatever order and however late it is committed."""

from __future__ import annotations

import threading

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from tests.support.clock import NOW
from valetkey.outbound.pruning import prune
from valetkey.storage import change_feed, consents, grants, leases, migrations, personal_access_tokens
from valetkey.storage.change_feed import ChangeKind
from valetkey.storage.consents import Consent
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.statement import BoundStatement, Statement, sql_and_values
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import StoreBusy, Transaction
from valetkey.storage.grants import Grant
from valetkey.storage.personal_access_tokens import PersonalToken
from valetkey.storage.revocation_check import SeenRevocations, lock_for_revocation
from valetkey.storage.schema import upgrade_schema

HOUR = 3600.0
_MOVE_AHEAD = Statement(text("UPDATE valetkey_revocations SET transaction_id = transaction_id + 1000000"))


def write(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def read_subjects(store: Store, since: str | None) -> tuple[list[str], str]:
    result = change_feed.read(store, since)
    return [entry.subject for entry in result.entries], result.position


def test_each_entry_is_read_once(store: Store) -> None:
    write(store, change_feed.add("token", "before"))
    first, position = read_subjects(store, None)
    write(store, change_feed.add("client", "a"), change_feed.add("owner", "b"))

    second, position = read_subjects(store, position)
    third, _ = read_subjects(store, position)

    assert (first, second, third) == (["before"], ["a", "b"], [])


def test_a_newer_entry_of_the_same_subject_replaces_the_older_one(store: Store) -> None:
    write(store, change_feed.add("client", "a"), change_feed.add("owner", "a"))
    [client, _] = change_feed.read(store, None).entries
    position = change_feed.read(store, None).position
    write(store, change_feed.add("client", "a"))

    [again] = change_feed.read(store, position).entries

    assert (again.kind, again.subject) == ("client", "a")
    assert again.revocation_id > client.revocation_id
    assert len(change_feed.read(store, None).entries) == 2


def test_an_entry_that_is_committed_late_is_read_although_later_ones_were_read_before(
    postgresql_store_url: str,
) -> None:
    store = open_store(postgresql_store_url)
    _, position = read_subjects(store, None)
    with psycopg.connect(postgresql_store_url) as held:
        held.execute(*sql_and_values(change_feed.add("token", "held"), "postgresql", lambda: NOW))
        for number in range(3):
            write(store, change_feed.add("token", str(number)))
            subjects, position = read_subjects(store, position)
            assert subjects == [str(number)]

    subjects, position = read_subjects(store, position)

    assert subjects == ["held"]
    assert read_subjects(store, position)[0] == []
    store.close()


def test_ids_are_not_used_again_after_pruning(store: Store) -> None:
    store.clock = lambda: NOW
    write(store, change_feed.add("token", "old"))
    _, position = read_subjects(store, None)
    prune(store, NOW + 40 * HOUR)
    assert read_subjects(store, None)[0] == []

    write(store, change_feed.add("token", "new"))

    assert read_subjects(store, position)[0] == ["new"]


@pytest.mark.parametrize("kind", ["grant", "client", "owner", "all", "changed"])
def test_entries_are_retained_for_longer_than_any_access_token_lives(store: Store, kind: ChangeKind) -> None:
    store.clock = lambda: NOW
    write(store, change_feed.add(kind, "x"))
    prune(store, NOW + 39 * HOUR)
    assert read_subjects(store, None)[0] == ["x"]

    prune(store, NOW + 40 * HOUR)

    assert read_subjects(store, None)[0] == []


def test_the_revocation_of_a_token_is_retained_until_fifteen_hours_after_its_expiry(store: Store) -> None:
    write(store, change_feed.add_token("x", NOW))
    prune(store, NOW + 15 * HOUR)
    assert read_subjects(store, None)[0] == ["x"]

    prune(store, NOW + 16 * HOUR)

    assert read_subjects(store, None)[0] == []


def test_a_reader_notices_that_the_database_was_replaced_by_an_older_copy(store: Store) -> None:
    write(store, change_feed.add("token", "x"))
    position = change_feed.read(store, None).position
    later = str(int(position) + 99) if store.dialect == "sqlite" else f"{10**9}:{10**9}:"

    result = change_feed.read(store, later)

    assert result.is_complete
    assert [entry.subject for entry in result.entries] == ["x"]


def test_ids_after_a_restore_differ_from_those_before_it(store: Store) -> None:
    store.clock = lambda: NOW
    for _ in range(2):
        write(store, change_feed.skip_ids(), change_feed.add("all", ""))

    [entry] = change_feed.read(store, None).entries

    assert entry.revocation_id > NOW * 1000


def test_after_an_upgrade_rows_that_were_restored_from_another_server_are_read_once(postgresql_store_url: str) -> None:
    """Their transaction ids are higher than those of this server."""
    store = open_store(postgresql_store_url)
    write(store, change_feed.add("token", "x"))
    write(store, _MOVE_AHEAD())
    position = change_feed.read(store, None).position
    assert read_subjects(store, position)[0] == ["x"], "each poll would return it"

    upgrade_schema(postgresql_store_url)

    subjects, position = read_subjects(store, position)
    assert subjects == ["x"]
    assert read_subjects(store, position)[0] == []
    store.close()


def test_times_are_taken_when_the_write_is_run_and_not_before_it_waits(sqlite_store_url: str) -> None:
    time, busy, writer = [NOW], open_store(sqlite_store_url), open_store(sqlite_store_url)
    has_begun, released = threading.Event(), threading.Event()

    def read_clock_inside_the_write() -> float:
        has_begun.set()
        released.wait(10)
        return NOW

    writer.clock, busy.clock = lambda: time[0], read_clock_inside_the_write
    blocking = threading.Thread(target=write, args=(busy, change_feed.add("token", "first")))
    blocking.start()
    has_begun.wait(10)
    waiting = threading.Thread(
        target=write, args=(writer, change_feed.add("token", "late"), leases.acquire("task", "me", 15))
    )
    waiting.start()
    waiting.join(0.2)
    time[0] += 1.5
    released.set()
    blocking.join()
    waiting.join()

    entries = {entry.subject: entry.at for entry in change_feed.read(writer, None).entries}
    assert entries["late"] == NOW + 1.5
    assert writer.fetch_one(Statement(text("SELECT until FROM valetkey_leases WHERE name = 'task'"))()) == (NOW + 16.5,)
    busy.close()
    writer.close()


TOKEN = PersonalToken("t", b"d", "ada", "CI", "vk_pat_abcd", "a", "[]", NOW, NOW + HOUR)


@pytest.mark.parametrize("seen", [SeenRevocations(), SeenRevocations(seen_owner=1)], ids=["unseen", "older seen"])
def test_a_personal_token_is_not_added_if_its_owner_was_revoked_since_the_check(
    store: Store, seen: SeenRevocations
) -> None:
    write(store, change_feed.add("owner", "eve"), change_feed.add("owner", "ada"))

    assert not store.write(Transaction(personal_access_tokens.add(TOKEN, seen)))

    entries = {entry.subject: entry.revocation_id for entry in change_feed.read(store, None).entries}
    assert store.write(Transaction(personal_access_tokens.add(TOKEN, SeenRevocations(seen_owner=entries["ada"]))))


GRANT = Grant("g", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + HOUR)
CONSENT = Consent("ada", "shop", "a", NOW, NOW, None, identity="{}")
ADDITIONS = {
    "personal token": personal_access_tokens.add(TOKEN),
    "grant": grants.add_unless_revoked(GRANT, SeenRevocations()),
    "grant by consent": grants.add_if_consented(GRANT, CONSENT),
}


SUBJECTS: dict[ChangeKind, str] = {"owner": "ada", "client": "shop", "all": ""}
each_addition = pytest.mark.parametrize(
    ("addition", "kind"),
    [
        *(("personal token", "owner"), ("personal token", "all"), ("grant", "owner"), ("grant", "client")),
        *(("grant", "all"), ("grant by consent", "client"), ("grant by consent", "all")),
    ],
)


@each_addition
def test_an_addition_waits_for_an_uncommitted_revocation(
    postgresql_store_url: str, addition: str, kind: ChangeKind
) -> None:
    """An UPDATE that revokes all grants or tokens of an owner does not see one that is added before its commit."""
    store = open_store(postgresql_store_url)
    write(store, consents.remember(CONSENT))
    revocation = change_feed.add(kind, SUBJECTS[kind])
    results: list[bool] = []
    with psycopg.connect(postgresql_store_url) as held:
        for statement in (*revocation.locks, grants.revoke_all_of_owner("ada", NOW), revocation):
            held.execute(*sql_and_values(statement, "postgresql", lambda: NOW))
        adding = threading.Thread(target=lambda: results.append(store.write(Transaction(ADDITIONS[addition]))))
        adding.start()
        adding.join(0.3)
        assert results == []
    adding.join()

    assert results == [False]
    store.close()


@each_addition
def test_a_revocation_waits_for_an_uncommitted_addition(
    postgresql_store_url: str, addition: str, kind: ChangeKind
) -> None:
    """Then it sees the row that it has to revoke."""
    store = open_store(postgresql_store_url)
    write(store, consents.remember(CONSENT))
    statement = ADDITIONS[addition]
    with psycopg.connect(postgresql_store_url) as held:
        for each in (*statement.locks, statement):
            held.execute(*sql_and_values(each, "postgresql", lambda: NOW))
        revoking = threading.Thread(target=write, args=(store, change_feed.add(kind, SUBJECTS[kind])))
        revoking.start()
        revoking.join(0.3)
        assert revoking.is_alive()
    revoking.join()

    assert [entry.subject for entry in change_feed.read(store, None).entries] == [SUBJECTS[kind]]
    store.close()


def test_an_addition_that_waits_for_too_long_is_refused_as_busy(postgresql_store_url: str) -> None:
    store = open_store(postgresql_store_url)
    with psycopg.connect(postgresql_store_url) as held:
        held.execute(*sql_and_values(lock_for_revocation("owner", "ada"), "postgresql", lambda: NOW))
        with pytest.raises(StoreBusy):
            store.write(Transaction(personal_access_tokens.add(TOKEN)))
    store.close()


def test_the_migration_keeps_the_last_entry_of_each_subject_with_its_id(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.__path__[0]))
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for number, (kind, subject) in enumerate([("client", "a"), ("token", "b"), ("client", "a"), ("grant", "c")]):
            connection.execute(
                text(
                    "INSERT INTO valetkey_revocations (kind, subject, at, expires_at) "
                    f"VALUES ('{kind}', '{subject}', {NOW + number}, {NOW + HOUR})"
                )
            )
    engine.dispose()
    upgrade_schema(database_url)

    store = open_store(database_url)
    entries = [tuple(entry) for entry in change_feed.read(store, None).entries]
    assert entries == [(2, "token", "b", NOW + 1), (3, "client", "a", NOW + 2), (4, "grant", "c", NOW + 3)]
    write(store, change_feed.add("token", "new"))
    assert [entry.revocation_id for entry in change_feed.read(store, None).entries] == [2, 3, 4, 5]
    store.close()
