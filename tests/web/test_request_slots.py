"""Slots of the app's requests: given in the order of arrival, and refused at once while slow views hold all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from valetkey.web import request_slots
from valetkey.web.request_slots import RequestSlotsMiddleware


class SlowApp:
    """A WSGI app whose responses wait until ``respond`` is called; ``began`` has the paths of requests in order."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self._turns = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.began.append(environ["PATH_INFO"])
        self._turns.acquire(timeout=10)
        start_response("200 OK", [])
        return []

    def respond(self) -> None:
        self._turns.release()


@pytest.fixture
def app() -> SlowApp:
    return SlowApp()


@pytest.fixture
def slots(app: SlowApp) -> RequestSlotsMiddleware:
    """One slot."""
    middleware = RequestSlotsMiddleware(1, ["/oauth"])
    middleware.inner = app
    return middleware


def request(slots: RequestSlotsMiddleware, path: str) -> str:
    """Send a request and return the status line of its response."""
    statuses: list[str] = []
    list(slots({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda status, headers: statuses.append(status)))
    return statuses[0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_requests_get_slots_in_the_order_in_which_they_arrived(app: SlowApp, slots: RequestSlotsMiddleware) -> None:
    paths = [f"/{number}" for number in range(6)]
    threads = []
    for path in paths:
        threads.append(threading.Thread(target=request, args=(slots, path)))
        threads[-1].start()
        wait_until(lambda: len(app.began) + len(slots._queue) == len(threads))
    for _ in paths:
        app.respond()
    for thread in threads:
        thread.join(10)

    assert app.began == paths
    app.respond()
    assert request(slots, "/later") == "200 OK", "the last one has left a free slot"


def test_while_no_slot_becomes_free_requests_are_refused_without_waiting(
    app: SlowApp, slots: RequestSlotsMiddleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_slots, "_MAX_WAIT_S", 0.3)
    slow = threading.Thread(target=request, args=(slots, "/slow"))
    slow.start()
    wait_until(lambda: app.began == ["/slow"])

    began = time.monotonic()
    assert request(slots, "/first").startswith("503")
    assert 0.2 < time.monotonic() - began < 3, "it has waited for a slot"
    began = time.monotonic()
    assert request(slots, "/second").startswith("503")
    assert time.monotonic() - began < 0.2

    app.respond()
    slow.join(10)
    app.respond()
    assert request(slots, "/third") == "200 OK", "refused requests hold no place in the queue"


def test_own_paths_need_no_slot(app: SlowApp, slots: RequestSlotsMiddleware) -> None:
    slow = threading.Thread(target=request, args=(slots, "/slow"))
    slow.start()
    wait_until(lambda: app.began == ["/slow"])
    token = threading.Thread(target=request, args=(slots, "/oauth/token"))
    token.start()
    wait_until(lambda: app.began == ["/slow", "/oauth/token"])

    app.respond()
    app.respond()
    slow.join(10)
    token.join(10)
    assert slots._free == 1
