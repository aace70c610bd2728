"""What is left in every table when a client or a user ends, for each way in which each can end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert
from sqlalchemy.engine import Engine

from tests.conformance.registration import call_configuration_endpoint
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK
from tests.support.changing_client import register_itself
from tests.support.clock import Clock
from tests.support.every_table import assert_left, make_row, open_engine, read_rows
from valetkey import Valetkey
from valetkey.accounts.administration import remove_account
from valetkey.accounts.security import disable_account, enable_account
from valetkey.accounts.sign_up import create_account
from valetkey.authorization_server.clients.service import end_client, register_client
from valetkey.authorization_server.clients.unused import prune_unused_clients
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.tables import metadata, signing_keys

# What is left of the rows of a client that was removed: "deleted", "kept", or the changed columns. A new table needs a
# line, here and in the decisions below.
OF_REMOVED_CLIENT: dict[str, Any] = {
    "valetkey_access_tokens": "kept",  # revoked by the change feed
    "valetkey_accounts": "kept",
    "valetkey_assertions": "kept",  # digests, until they expire
    "valetkey_audit": "kept",
    "valetkey_client_secrets": "deleted",
    "valetkey_clients": "deleted",
    "valetkey_codes": "kept",  # their grants are revoked
    "valetkey_consents": "deleted",
    "valetkey_device_codes": "deleted",
    "valetkey_grants": {"revoked_at": "now"},
    "valetkey_idempotency_keys": "kept",
    "valetkey_initial_access_tokens": "kept",
    "valetkey_interactions": "deleted",
    "valetkey_leases": "kept",
    "valetkey_limits": "kept",
    "valetkey_mail_links": "kept",
    "valetkey_outbox": "kept",
    "valetkey_personal_access_tokens": {"revoked_at": "now"},
    "valetkey_provider_disconnections": "kept",
    "valetkey_provider_links": "kept",
    "valetkey_provider_requests": "kept",
    "valetkey_quotas": "kept",  # a client that registers again under its id does not get a new quota
    "valetkey_refresh_tokens": "kept",  # their grants are revoked
    "valetkey_registrations": "deleted",
    "valetkey_resources": "kept",
    "valetkey_retry_answers": "kept",  # encrypted with tokens of revoked grants
    "valetkey_revocations": "kept",
    "valetkey_route_limits": "kept",
    "valetkey_served_as": "kept",
    "valetkey_sessions": "kept",
    "valetkey_signing_keys": "kept",
    "valetkey_subscriptions": "deleted",
    "valetkey_usage": "kept",
}
# The same for a user whose access ended. Consents stay: only the user withdraws them.
OF_ENDED_OWNER: dict[str, Any] = {
    **dict.fromkeys(OF_REMOVED_CLIENT, "kept"),
    "valetkey_grants": {"revoked_at": "now"},
    "valetkey_mail_links": {"used_at": "now"},
    "valetkey_personal_access_tokens": {"revoked_at": "now"},
    "valetkey_provider_links": {"tokens": None},  # the links stay: a user who is enabled again signs in as before
    "valetkey_sessions": {"ended_at": "now"},
}
# The same for a user whose account the operator removed.
OF_REMOVED_OWNER: dict[str, Any] = {
    **OF_ENDED_OWNER,
    "valetkey_accounts": "deleted",
    "valetkey_consents": "deleted",
    "valetkey_provider_disconnections": "deleted",
    "valetkey_provider_links": "deleted",
    "valetkey_sessions": "deleted",
}
OF_SUBJECT, OF_OTHERS = (1, 2), (3, 4)
GRANT_IDS = {f"grant_id-{number}" for number in OF_SUBJECT}
# A client that is pruned has none of these: it was never used.
TABLES_OF_USED_CLIENTS = {
    f"valetkey_{name}" for name in ("grants", "consents", "device_codes", "personal_access_tokens", "subscriptions")
}
Rows = Mapping[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, registration_policy="open", unused_registration_days=30)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = open_engine(store_url)
    yield engine
    engine.dispose()


def fill_tables(engine: Engine, subject: Mapping[str, str], without: Collection[str]) -> None:
    """Add rows of a subject and of others to every table.

    :param subject: the columns that name the subject, with its id.
    :param without: tables that get no row of the subject.
    """
    others = {"policy": "web", "metadata": '{"token_endpoint_auth_method":"none"}'}
    with engine.begin() as connection:
        for name, table in metadata.tables.items():
            if table is signing_keys:
                continue
            has_one_row = {column.name for column in table.primary_key} <= subject.keys()
            numbers = () if name in without else OF_SUBJECT[:1] if has_one_row else OF_SUBJECT
            rows = [make_row(table, number, **others, **subject) for number in numbers]
            rows += [make_row(table, number, **others) for number in OF_OTHERS]
            connection.execute(insert(table), rows)


def read_tables(engine: Engine, subject: Mapping[str, str]) -> Rows:
    """Return, for each table, the rows of the subject and all other rows."""
    tables = {}
    for name, table in metadata.tables.items():
        rows = read_rows(engine, table)
        own = [
            row
            for row in rows
            if any(row.get(column) == value for column, value in subject.items()) or row.get("grant_id") in GRANT_IDS
        ]
        tables[name] = own, [row for row in rows if row not in own]
    return tables


def assert_tables(before: Rows, after: Rows, decisions: Mapping[str, Any], now: float) -> None:
    for name, (own, others) in before.items():
        expected = decisions[name]
        if isinstance(expected, dict):
            expected = {column: now if value == "now" else value for column, value in expected.items()}
        assert_left(name, own, after[name][0], expected)
        assert_left(name, others, after[name][1], "kept")


def has_change(engine: Engine, kind: str, subject: str) -> bool:
    rows = read_rows(engine, metadata.tables["valetkey_revocations"])
    return any((row["kind"], row["subject"]) == (kind, subject) for row in rows)


@pytest.mark.parametrize("decisions", [OF_REMOVED_CLIENT, OF_ENDED_OWNER, OF_REMOVED_OWNER])
def test_every_table_has_a_decision(decisions: dict[str, Any]) -> None:
    assert decisions.keys() == metadata.tables.keys()


def _remove_by_operator(app: Flask, information: dict[str, Any]) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    end_client(runtime.store, information["client_id"], runtime.clock())


def _remove_by_itself(app: Flask, information: dict[str, Any]) -> None:
    assert call_configuration_endpoint(app.test_client(), information, "DELETE").status_code == 204


def _prune(app: Flask, information: dict[str, Any]) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    assert prune_unused_clients(runtime, runtime.clock()) == 1


@pytest.mark.parametrize("remove", [_remove_by_operator, _remove_by_itself, _prune])
def test_a_removed_client_leaves_nothing_valid_in_any_table(
    app: Flask, engine: Engine, clock: Clock, remove: Callable[[Flask, dict[str, Any]], None]
) -> None:
    information = register_itself(app, client_name="Shop")
    subject = {"client_id": information["client_id"]}
    clock.forward(31 * 86_400)
    unused = TABLES_OF_USED_CLIENTS if remove is _prune else set()
    fill_tables(engine, subject, {"valetkey_clients", "valetkey_registrations", *unused})
    before = read_tables(engine, subject)

    remove(app, information)

    assert_tables(before, read_tables(engine, subject), OF_REMOVED_CLIENT, clock())
    assert has_change(engine, "client", information["client_id"])


def test_a_client_that_gets_the_id_of_a_removed_one_has_nothing_that_was_stored_late(
    app: Flask, engine: Engine, clock: Clock
) -> None:
    subject = {"client_id": "shop"}
    fill_tables(engine, subject, {"valetkey_clients"})
    before = read_tables(engine, subject)

    created = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="Shop",
        policy="web",
        redirect_uris=[CALLBACK],
        client_id="shop",
    )

    after = dict(read_tables(engine, subject))
    assert created.secret
    for own_table in ("valetkey_clients", "valetkey_client_secrets"):
        (only,), others = after[own_table]
        assert only["created_at"] == clock()
        after[own_table] = [], others
    assert_tables(before, after, OF_REMOVED_CLIENT, clock())


def _revoke_owner(app: Flask, sub: str) -> None:
    Valetkey.revoke_owner(app, sub)


def _disable(app: Flask, sub: str) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    disable_account(sub, runtime, runtime.clock())


def _enable(app: Flask, sub: str) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    enable_account(sub, runtime, runtime.clock())


def _remove(app: Flask, sub: str) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    account = accounts.find(runtime.store, sub)
    assert account
    remove_account(account, runtime, runtime.clock())


@pytest.mark.parametrize(
    ("end", "account"),
    [
        (_revoke_owner, "kept"),
        (_disable, {"disabled_at": "now"}),
        (_enable, {"disabled_at": None}),
        (_remove, "deleted"),
    ],
)
def test_a_user_whose_access_ended_leaves_nothing_valid_in_any_table(
    app: Flask, engine: Engine, clock: Clock, end: Callable[[Flask, str], None], account: Any
) -> None:
    runtime: Runtime = app.extensions["valetkey"]
    sub = create_account(runtime.store, clock(), name="Ada", email="ada@example.org", password="correct horse battery")
    if end is _enable:  # what was created while the account was being disabled ends, too
        runtime.store.write(Transaction(rows=(accounts.set_disabled(sub, clock() - 10),)))
    subject = {"owner": sub, "sub": sub}
    fill_tables(engine, subject, {"valetkey_accounts"})
    before = read_tables(engine, subject)

    end(app, sub)

    sessions = "kept" if end is _revoke_owner else OF_ENDED_OWNER["valetkey_sessions"]  # those of disabled accounts end
    decisions = {**OF_ENDED_OWNER, "valetkey_accounts": account, "valetkey_sessions": sessions}
    if end is _remove:
        decisions = OF_REMOVED_OWNER
    assert_tables(before, read_tables(engine, subject), decisions, clock())
    assert has_change(engine, "owner", sub)
