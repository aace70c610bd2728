"""If the system allows no more threads, requests are handled without them."""

from __future__ import annotations

import logging
import threading
from ipaddress import ip_address

import pytest
from flask import Flask

from tests.support.access_tokens import access_token_of
from tests.support.app import MakeApp
from tests.support.clock import Clock
from valetkey import ResourceServer, public
from valetkey.activity import usage as usage_module
from valetkey.activity.background import BackgroundThread
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.fetch_limits import Deadline
from valetkey.outbound.safe_resolver import SafeResolver
from valetkey.rate_limiting.backends.counters import MemoryCounters
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.runtime import Runtime
from valetkey.storage import usage
from valetkey.storage.engine import daemon_thread
from valetkey.testing import headers_for

START_THREAD = threading.Thread.start


def refuse_to_start(thread: threading.Thread) -> None:
    if thread.name.startswith("valetkey"):
        raise RuntimeError("can't start new thread")
    START_THREAD(thread)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The system starts no thread of Valetkey, until this is undone."""
    monkeypatch.setattr(daemon_thread, "_next_log_at", 0.0)
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    return monkeypatch


def test_calls_are_answered_and_counted_once_a_thread_can_be_started(
    make_app: MakeApp,
    store_url: str,
    clock: Clock,
    no_threads: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app(store_url, embedded_worker=True)
    runtime: Runtime = app.extensions["valetkey"]
    headers = headers_for(app, "profile")

    with caplog.at_level(logging.ERROR, "valetkey"):
        statuses = [app.test_client().get("/api/protected", headers=headers).status_code for _ in range(5)]
    runtime.failures.record("sign_in.failed", clock(), network="192.0.2.1")

    assert statuses == [200] * 5
    assert caplog.text.count("cannot be started") == 1, "at most once a minute"
    no_threads.undo()
    no_threads.setattr(runtime.background, "_retry_at", 0.0)
    app.test_client().get("/api/protected", headers=headers)
    assert not runtime.background.has_failed
    runtime.background.close()
    hours = (runtime.clock() - 3600, runtime.clock() + 3600)
    assert sum(row.calls for row in usage.list_between(runtime.store, *hours)) == 6


def test_calls_that_cannot_be_written_stay_in_bounded_memory(runtime: Runtime, no_threads: pytest.MonkeyPatch) -> None:
    no_threads.setattr(usage_module, "_MAX_CALLS", 10)
    for _ in range(25):
        runtime.usage.record(access_token_of("app"), "GET", "/", "200", runtime.clock())

    assert len(runtime.usage._calls) <= 10


def test_the_start_of_the_background_thread_is_tried_again_once_a_second(no_threads: pytest.MonkeyPatch) -> None:
    background, starts = BackgroundThread(), []
    no_threads.setattr(threading.Thread, "start", lambda thread: [starts.append(thread), refuse_to_start(thread)])

    for _ in range(3):
        background.ensure_running()
    assert len(starts) == 1
    no_threads.setattr(background, "_retry_at", 0.0)
    background.ensure_running()
    assert len(starts) == 2


def test_an_app_with_a_resource_server_responds(no_threads: pytest.MonkeyPatch) -> None:
    app = Flask("api")
    ResourceServer(app, trusted_issuers=["https://id.example"], resource="https://api.example")
    app.add_url_rule("/", view_func=public(limit="60/minute")(lambda: "content"))

    assert app.test_client().get("/").status_code == 200


def test_callers_are_counted_without_the_renewal_of_leases(no_threads: pytest.MonkeyPatch) -> None:
    limiter, limit = Limiter(MemoryCounters(), renews_in_background=True), parse_limit("1200/minute burst 120")

    assert all(limiter.spend("steady", limit, 1.9e9 + number / 8).is_admitted for number in range(100))
    limiter.close()


def test_a_host_that_cannot_be_looked_up_is_a_failed_fetch_and_the_next_lookup_succeeds(
    no_threads: pytest.MonkeyPatch,
) -> None:
    resolver = SafeResolver((), lambda *_: ["1.1.1.1"])
    for _ in range(40):  # more than may run at once
        with pytest.raises(FetchFailed, match="no thread can be started"):
            resolver.find_addresses("https://id.example/", Deadline.within(1.0))
    no_threads.undo()

    assert resolver.find_addresses("https://id.example/", Deadline.within(5.0)) == [ip_address("1.1.1.1")]
