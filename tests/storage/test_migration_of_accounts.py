"""The upgrade keeps accounts and the audit log, and takes no existing account for one that was never used."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tests.support.database import execute, upgrade_to
from valetkey.storage import accounts, audit, provider_disconnections, provider_links, sessions
from valetkey.storage.audit import AuditRow
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_disconnections import ProviderDisconnection


def test_an_account_of_the_version_before_is_notified_of_its_next_new_browser(database_url: str) -> None:
    account: dict[str, Any] = {"sub": "ada", "email": "ada@example.org", "name": "Ada", "claims": "{}"}
    names, values = ", ".join(account), ", ".join(f"'{value}'" for value in account.values())
    upgrade_to(database_url, "0002")
    execute(database_url, f"INSERT INTO valetkey_accounts ({names}, created_at) VALUES ({values}, 7.0)")
    execute(database_url, "INSERT INTO valetkey_audit (at, event) VALUES (7.0, 'account.created')")

    upgrade_to(database_url, "head")

    with closing(open_store(database_url)) as store:
        found = accounts.find(store, "ada")
        assert found is not None
        assert (found.signed_in_at, found.unreviewed_since) == (7.0, None)
        counted = AuditRow(60.0, "sign_in.failed", address="192.0.2.1", count=2)
        store.write(Transaction(rows=(audit.add_count(counted), audit.add_count(counted))))
        rows = [entry.row for entry in audit.list_latest(store, 10)]
    assert [(row.event, row.count) for row in rows] == [("account.created", None), ("sign_in.failed", 4)]


def test_sessions_of_the_version_before_began_when_their_users_signed_in(database_url: str) -> None:
    upgrade_to(database_url, "0006")
    execute(
        database_url,
        "INSERT INTO valetkey_accounts (sub, email, name, claims, created_at)"
        " VALUES ('ada', 'ada@example.org', 'Ada', '{}', 7.25)",
    )
    execute(
        database_url,
        "INSERT INTO valetkey_sessions (digest, sub, browser, sid, auth_time, expires_at)"
        " VALUES ('d', 'ada', 'b', 's', 8.5, 99.0)",
    )
    upgrade_to(database_url, "head")

    with closing(open_store(database_url)) as store:
        (session,) = sessions.list_active(store, "ada", 9.0)
        assert (session.began_at, session.auth_time, session.expires_at) == (8.5, 8.5, 99.0)
        (account,) = accounts.list_all(store)
        assert (account.email, account.created_at) == ("ada@example.org", 7.25)
        assert store.write(Transaction(accounts.add("eve", "ada@example.org", "Eve", None, 9.0))) is False
        assert store.write(Transaction(accounts.remove_unverified_email("ada", "ada@example.org"))) is True
        assert store.write(Transaction(accounts.add("eve", "ada@example.org", "Eve", None, 9.0))) is True
        assert store.write(Transaction(accounts.remove_unverified_email("eve", "ada@example.org"))) is True
        assert [account.email for account in accounts.list_all(store)] == [None, None]


def test_providers_of_the_version_before_stay_connected_and_can_be_disconnected_for_good(database_url: str) -> None:
    upgrade_to(database_url, "0007")
    execute(
        database_url,
        "INSERT INTO valetkey_accounts (sub, email, name, claims, created_at, email_verified_at) "
        "VALUES ('ada', 'ada@example.org', 'Ada', '{}', 7.25, 8.0)",
    )
    execute(
        database_url,
        "INSERT INTO valetkey_provider_links (subject, issuer, sub, email, linked_at) "
        "VALUES ('1', 'https://id.example', 'ada', 'ada@example.org', 8.5)",
    )
    upgrade_to(database_url, "head")

    with closing(open_store(database_url)) as store:
        (link,) = provider_links.list_of_account(store, "ada")
        assert (link.subject, link.issuer, link.email, link.linked_at) == (
            "1",
            "https://id.example",
            "ada@example.org",
            8.5,
        )
        connect = Transaction(provider_links.add_to_verified(link, "ada@example.org"))
        store.write_all(provider_links.remove_always(link))
        assert store.write(connect) is True
        disconnection = ProviderDisconnection("ada", link.issuer, link.subject)
        for _ in range(2):
            store.write_all(provider_links.remove_always(link), provider_disconnections.add(disconnection))
        assert store.write(connect) is False
