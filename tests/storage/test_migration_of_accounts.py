"""The upgrade keeps accounts and the audit log, and takes no existing account for one that was never used."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text

import valetkey.storage.migrations
from valetkey.storage import accounts, audit
from valetkey.storage.audit import AuditRow
from valetkey.storage.engine.open import open_store
from valetkey.storage.engine.transaction import Transaction


def _upgrade(engine: Engine, revision: str, *statements: str) -> None:
    config = Config()
    config.set_main_option("script_location", valetkey.storage.migrations.__path__[0])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(text(statement))


def test_an_account_of_the_version_before_is_told_of_its_next_new_browser(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    account: dict[str, Any] = {"sub": "ada", "email": "ada@example.org", "name": "Ada", "claims": "{}"}
    names, values = ", ".join(account), ", ".join(f"'{value}'" for value in account.values())
    _upgrade(
        engine,
        "0002",
        f"INSERT INTO valetkey_accounts ({names}, created_at) VALUES ({values}, 7.0)",
        "INSERT INTO valetkey_audit (at, event) VALUES (7.0, 'account.created')",
    )
    _upgrade(engine, "head")
    engine.dispose()

    with closing(open_store(database_url)) as store:
        found = accounts.find(store, "ada")
        assert found is not None
        assert (found.signed_in_at, found.unreviewed_since) == (7.0, None)
        counted = AuditRow(60.0, "sign_in.failed", address="192.0.2.1", count=2)
        store.write(Transaction(rows=(audit.add_count(counted), audit.add_count(counted))))
        rows = [entry.row for entry in audit.list_latest(store, 10)]
    assert [(row.event, row.count) for row in rows] == [("account.created", None), ("sign_in.failed", 4)]
