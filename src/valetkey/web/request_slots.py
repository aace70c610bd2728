"""A limit of the threads that the views of the app hold, so that slow ones do not stop Valetkey's own endpoints."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator

from valetkey.protocol.refusal import PROBLEM_CONTENT_TYPE, Header, build_refusal
from valetkey.protocol.secret import random_id
from valetkey.protocol.unavailable import BackendUnavailable

from .middleware import Middleware
from .wsgi import Environ, StartResponse

_MAX_WAIT_S = 3.0  # if no slot became free for so long, slow views or streams hold all of them
_LOG_INTERVAL_S = 60.0
_log = logging.getLogger("valetkey")


class AllThreadsBusy(BackendUnavailable):
    """Slow views or streams of the app hold all threads that they may hold."""


class RequestSlotsMiddleware(Middleware):
    """Bounds how many requests the app handles at once in a process, streamed responses included.

    A request that gets no slot waits while slots become free, in the order of arrival. If none has been free for
    three seconds, slow views hold all of them, and the request is refused with 503. Requests to Valetkey's own paths
    then need none.

    Order: outside of all other middleware. A response counts until it is sent.

    :param slots: maximum number of requests; half of the threads of the process.
    :param own_paths: path prefixes of Valetkey's endpoints and pages, with the path of the issuer if it has one.
    :param headers: header fields of a refusal.
    """

    def __init__(self, slots: int, own_paths: Collection[str], headers: Iterable[Header] = ()) -> None:
        self._headers = tuple(headers)
        self._free = slots
        self._own_paths = tuple(own_paths)
        self._lock = threading.Lock()
        self._queue: deque[threading.Lock] = deque()  # one locked lock for each request that waits for a slot
        self._was_free_at = time.monotonic()
        self._logged_at: float | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not self._acquire():
            if self._is_own_path(environ["PATH_INFO"]):
                return self.inner(environ, start_response)
            if not self._wait():
                return self._refuse(environ, start_response)
        try:
            body = self.inner(environ, start_response)
        except BaseException:
            self._release()
            raise
        if isinstance(body, list):
            self._release()
            return body
        return _SlotReleasingBody(body, self)

    def _acquire(self) -> bool:
        with self._lock:
            return self._take()

    def _wait(self) -> bool:
        """Wait for a slot while slots become free, in the order of arrival. Return whether there is one."""
        with self._lock:
            if self._take():
                return True
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
            remaining_s = self._remaining_s()
        while not turn.acquire(timeout=max(0.0, remaining_s)):
            with self._lock:
                if turn not in self._queue:  # it was this request's turn meanwhile
                    return True
                remaining_s = self._remaining_s()
                if remaining_s <= 0:
                    self._queue.remove(turn)
                    return False
        return True

    def _remaining_s(self) -> float:
        """Return for how long requests wait if no slot becomes free meanwhile."""
        return self._was_free_at + _MAX_WAIT_S - time.monotonic()

    def _take(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        if not self._free:
            self._was_free_at = time.monotonic()
        return True

    def _release(self) -> None:
        with self._lock:
            self._was_free_at = time.monotonic()
            if self._queue:
                self._queue.popleft().release()  # the request that has waited longest gets the slot
            else:
                self._free += 1

    def _is_own_path(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self._own_paths)

    def _refuse(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at > _LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning(
                "slow views or streams of the app hold all threads that they may hold, and further requests to it get "
                "503: increase --threads or --workers"
            )
        refusal = build_refusal(AllThreadsBusy(), random_id(12))
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else refusal.problem_body()
        headers = [
            ("Content-Type", PROBLEM_CONTENT_TYPE),
            ("Cache-Control", "no-store"),
            *refusal.headers,
            *self._headers,
        ]
        start_response("503 Service Unavailable", headers)
        return [body]


class _SlotReleasingBody:
    """A response body that releases the slot of its request when the server closes it."""

    def __init__(self, body: Iterable[bytes], slots: RequestSlotsMiddleware) -> None:
        self._body = body
        self._release = slots._release
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._release()
