"""Failed sign-ins and client authentications, and limits that were reached, are counted in the audit log."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import EMAIL, Browser
from tests.support.clock import NOW, Clock
from tests.support.store_assertions import dump_store
from tests.support.user import PASSWORD
from valetkey.accounts.password import hash_password
from valetkey.accounts.sign_up import create_account
from valetkey.activity.failures import FailureBuffer
from valetkey.outbound.pruning import prune
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit
from valetkey.storage.audit import AuditRow
from valetkey.storage.engine.transaction import ConnectionLost, Transaction

DAY = 86400.0
WRONG = "a green tram in may"
MINUTE = NOW // 60 * 60


def make_browser(app: Flask, address: str = "127.0.0.1") -> Browser:
    """Return a browser at an address, without a client: these tests need none."""
    http = app.test_client()
    http.environ_base["REMOTE_ADDR"] = address
    return Browser(http, None)  # type: ignore[arg-type]  # no client is needed


def counted(runtime: Runtime) -> list[tuple[str, str | None, str | None, str | None, str | None, int | None]]:
    """Flush the counts, and return event, client, owner, network, detail and count of each row, sorted."""
    runtime.background.run_jobs()
    rows = [entry.row for entry in audit.list_counted(runtime.store, 0, 1000)]
    values = [(row.event, row.client_id, row.owner, row.address, row.detail, row.count) for row in rows]
    return sorted(values, key=repr)


@pytest.fixture
def sub(runtime: Runtime) -> str:
    """The ``sub`` of an account."""
    return create_account(runtime.store, runtime.clock(), name="Ada", email=EMAIL, password=PASSWORD)


def test_failed_sign_ins_are_counted_per_account_and_network(app: Flask, runtime: Runtime, sub: str) -> None:
    for address in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"):
        assert make_browser(app, address).sign_in(EMAIL, WRONG).status_code == 400

    assert counted(runtime) == [
        ("sign_in.failed", None, sub, "192.0.2.1", None, 2),
        ("sign_in.failed", None, sub, "2001:db8::/64", None, 2),
    ]


def test_what_was_typed_for_an_unknown_account_is_not_stored(app: Flask, runtime: Runtime, sub: str) -> None:
    browser = make_browser(app)
    browser.sign_in("a violet tram@in.june", WRONG)
    browser.sign_in("secret-password-of-ada", PASSWORD)

    rows = counted(runtime)

    assert rows == [("sign_in.failed", None, None, "127.0.0.1", None, 2)]
    assert b"violet" not in dump_store(runtime) and b"secret-password" not in dump_store(runtime)


def test_a_disabled_account_counts_as_its_own_target(app: Flask, runtime: Runtime, sub: str) -> None:
    runtime.store.write(Transaction(rows=(accounts.set_disabled(sub, NOW),)))

    make_browser(app).sign_in(EMAIL, PASSWORD)

    assert counted(runtime) == [("sign_in.failed", None, sub, "127.0.0.1", None, 1)]


def test_a_lock_out_is_counted_with_the_setting_of_its_limit(app: Flask, runtime: Runtime, sub: str) -> None:
    browser = make_browser(app)

    statuses = [browser.sign_in(EMAIL, WRONG).status_code for _ in range(12)]

    assert statuses == [400] * 10 + [429] * 2
    assert counted(runtime) == [
        ("limit.reached", None, sub, "127.0.0.1", "sign_in_limit", 2),
        ("sign_in.failed", None, sub, "127.0.0.1", None, 10),
    ]


def test_a_wrong_current_password_at_a_change_is_counted(ada: Browser, runtime: Runtime) -> None:
    runtime.store.write_all(accounts.set_password("ada", hash_password("a blue kite in march")))

    ada.submit("/account/password", {"current": WRONG, "password": "a violet tram in june"})

    assert [row[0] for row in counted(runtime)] == ["password_change.failed"]


def test_failed_client_authentications_are_counted_per_client_and_network(
    app: Flask, runtime: Runtime, register: Register
) -> None:
    robot = register("machine")
    form = {"grant_type": "client_credentials"}
    for endpoint in ("/oauth/token", "/oauth/revoke", "/oauth/introspect"):
        app.test_client().post(endpoint, data={**form, "token": "x"}, auth=(robot.client_id, "wrong"))
    app.test_client().post("/oauth/token", data=form, auth=("my-password", "wrong"))  # no such client
    app.test_client().post("/oauth/token", data=form)  # no authentication
    app.test_client().post("/oauth/token", data=form, headers={"Authorization": "Basic !"})

    assert counted(runtime) == [
        ("client_authentication.failed", robot.client_id, None, "127.0.0.1", None, 3),
        ("client_authentication.failed", None, None, "127.0.0.1", None, 3),
    ]
    assert b"my-password" not in dump_store(runtime)


def test_the_limit_of_failed_client_authentications_is_a_lock_out(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url, client_authentication_limit="1/hour burst 1")

    responses = [app.test_client().post("/oauth/token", data={"client_id": "none", "grant_type": "x"}) for _ in "ab"]

    assert [response.json["error"] for response in responses] == ["invalid_client", "too_many_requests"]
    assert [row[::4] + row[5:] for row in counted(app.extensions["valetkey"])] == [
        ("client_authentication.failed", None, 1),
        ("limit.reached", "client_authentication_limit", 1),
    ]


def test_a_refused_page_counts_the_limit_and_the_signed_in_user(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, device_code_limit="1/hour burst 1")
    runtime: Runtime = app.extensions["valetkey"]
    browser = make_browser(app)
    browser.sign_up()

    statuses = [browser.submit("/device", {"user_code": "BCDF-GHJK"}).status_code for _ in "ab"]

    assert statuses[1] == 429
    [(event, _, owner, network, detail, count)] = counted(runtime)
    assert (event, network, detail, count) == ("limit.reached", "127.0.0.1", "device_code_limit", 1)
    assert owner is not None


def test_counts_of_two_processes_are_added_in_one_row_per_minute(runtime: Runtime, clock: Clock) -> None:
    others = FailureBuffer(runtime.store, runtime.background)
    for buffer in (runtime.failures, others, runtime.failures):
        buffer.record("sign_in.failed", clock(), network="192.0.2.1")
        buffer.flush()
    clock.forward(60)
    runtime.failures.record("sign_in.failed", clock(), network="192.0.2.1")

    assert [row[-1] for row in counted(runtime)] == [1, 3]
    assert [entry.row.at for entry in audit.list_counted(runtime.store, 0, 10)] == [MINUTE, MINUTE + 60]


def test_a_caller_who_chooses_many_targets_adds_a_bounded_number_of_rows(runtime: Runtime, clock: Clock) -> None:
    for number in range(5000):
        runtime.failures.record("sign_in.failed", clock(), network=f"192.0.{number // 250}.{number % 250}")
        if number % 1000 == 0:
            runtime.failures.flush()

    rows = counted(runtime)

    assert len(rows) == 101
    assert sum(row[-1] or 0 for row in rows) == 5000
    assert max(row[-1] or 0 for row in rows if row[3] == "other") == 4900


def test_an_outage_keeps_the_counts_in_bounded_memory(
    runtime: Runtime, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ConnectionLost("down")

    with monkeypatch.context() as outage:
        outage.setattr(runtime.store, "write", fail)
        for _ in range(40):
            clock.forward(60)
            for number in range(200):
                runtime.failures.record("sign_in.failed", clock(), network=f"192.0.2.{number}")
            runtime.failures.flush()
        assert len(runtime.failures._pending) <= 2000

    rows = counted(runtime)
    assert 0 < sum(row[-1] or 0 for row in rows) <= 8000


def test_the_audit_log_is_pruned_after_its_retention_and_counts_after_30_days(runtime: Runtime) -> None:
    store = runtime.store
    rows = [
        *(audit.add(AuditRow(NOW - age * DAY, "session.started")) for age in (400, 364, 31)),
        *(audit.add_count(AuditRow(NOW - age * DAY, "sign_in.failed", count=1)) for age in (400, 31, 29)),
    ]
    store.write(Transaction(rows=tuple(rows)))

    prune(store, NOW, 365)

    ages = [(entry.row.event, round((NOW - entry.row.at) / DAY)) for entry in audit.list_latest(store, 10)]
    assert ages == [("session.started", 364), ("session.started", 31), ("sign_in.failed", 29)]


def test_a_short_retention_holds_for_counts_too_and_zero_keeps_the_events(runtime: Runtime) -> None:
    store = runtime.store
    rows = [
        *(audit.add(AuditRow(NOW - age * DAY, "session.started")) for age in (4000, 2)),
        *(audit.add_count(AuditRow(NOW - age * DAY, "sign_in.failed", count=1)) for age in (2, 0)),
    ]
    store.write(Transaction(rows=tuple(rows)))

    prune(store, NOW, 0)
    assert len(audit.list_latest(store, 10)) == 4
    prune(store, NOW, 1)
    assert [entry.row.event for entry in audit.list_latest(store, 10)] == ["sign_in.failed"]


def test_the_newest_entry_stays_so_that_its_id_is_not_given_again(runtime: Runtime) -> None:
    store = runtime.store
    store.write(Transaction(rows=(audit.add(AuditRow(NOW - 400 * DAY, "session.started")),)))
    [before] = audit.list_latest(store, 10)

    prune(store, NOW, 1)
    store.write(Transaction(rows=(audit.add(AuditRow(NOW, "session.ended")),)))

    assert [entry.row.event for entry in audit.list_after(store, before.audit_id, 10)] == ["session.ended"]
