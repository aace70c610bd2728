"""Counts of a commit whose result is unknown are dropped, so that no call and no failure is counted twice."""

from __future__ import annotations

import logging

import pytest

from tests.support.access_tokens import access_token_of
from tests.support.clock import NOW
from valetkey.activity import usage as usage_module
from valetkey.runtime import Runtime
from valetkey.storage import audit, usage
from valetkey.storage.engine.transaction import ConnectionLost, StoreUnavailable, Transaction


def count_calls(runtime: Runtime) -> int:
    return sum(row.calls for row in usage.list_between(runtime.store, NOW - 3600, NOW + 3600))


def count_failures(runtime: Runtime) -> int:
    return sum(entry.row.count or 0 for entry in audit.list_counted(runtime.store, 0, 1000))


def record(runtime: Runtime) -> None:
    """Record ten calls of five routes, and three failures."""
    for number in range(10):
        runtime.usage.record(access_token_of("app"), "GET", f"/{number % 5}", "200", NOW)
    for _ in range(3):
        runtime.failures.record("sign_in.failed", NOW, network="192.0.2.1")


def flush(runtime: Runtime) -> None:
    runtime.usage.flush()
    runtime.failures.flush()


def test_counts_that_may_have_been_written_are_not_written_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = runtime.store.write

    def write_without_response(transaction: Transaction) -> bool:
        write(transaction)
        raise StoreUnavailable("the connection was lost")

    record(runtime)
    with monkeypatch.context() as lost, caplog.at_level(logging.WARNING, "valetkey"):
        lost.setattr(runtime.store, "write", write_without_response)
        flush(runtime)
    flush(runtime)

    assert (count_calls(runtime), count_failures(runtime)) == (10, 3)
    assert "10 calls may not be counted" in caplog.text
    assert "3 failures may not be counted" in caplog.text


def test_only_the_batch_that_may_have_been_written_is_dropped(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_module, "_BATCH_SIZE", 2)

    def lose(_: Transaction) -> bool:
        raise StoreUnavailable("the connection was lost")

    record(runtime)
    with monkeypatch.context() as lost:
        lost.setattr(runtime.store, "write", lose)
        runtime.usage.flush()
    flush(runtime)

    assert count_calls(runtime) == 6, "of five counts, two were dropped"


def test_counts_that_were_certainly_not_written_are_written_later(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Transaction) -> bool:
        raise ConnectionLost("the connection was lost before the commit")

    record(runtime)
    with monkeypatch.context() as outage:
        outage.setattr(runtime.store, "write", refuse)
        flush(runtime)
    flush(runtime)

    assert (count_calls(runtime), count_failures(runtime)) == (10, 3)
