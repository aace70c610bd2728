"""Call a route as often as possible from many connections, and record when each call was admitted."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass
class CallResults:
    """The results of calls.

    :ivar statuses: the number of responses with each status.
    :ivar processes: the ids of the server processes that admitted calls.
    :ivar admissions: for each admitted call, two Unix times between which it was admitted.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    processes: set[int] = field(default_factory=set)
    admissions: list[tuple[float, float]] = field(default_factory=list)

    def excess(self, n: int, period_s: float, burst: int) -> float:
        """Return by how many calls the limit was exceeded, at most; it is negative if it was not.

        In any t seconds, a limit of n per period admits at most ``burst + n * t / period_s`` calls. A call counts for a
        span of time only if both its times are in the span. Spans start at about 300 of the admissions.
        """
        by_end = sorted(self.admissions, key=lambda admission: admission[1])
        starts = sorted(earliest for earliest, _ in self.admissions)
        max_excess = float("-inf")
        for start in starts[:: max(1, len(starts) // 300)]:
            call_count = 0
            for earliest, latest in by_end:
                if earliest >= start:
                    call_count += 1
                    max_excess = max(max_excess, call_count - burst - n * (latest - start) / period_s)
        return max_excess


def generate_load(
    ports: Sequence[int],
    path: str,
    *,
    duration_s: float,
    callers: int = 32,
    max_calls_per_caller: int = 1_000_000,
    results: CallResults | None = None,
) -> CallResults:
    """Call a route from many connections at the same time for some seconds, and return the results.

    :param ports: the ports of the servers, among which the callers are distributed evenly.
    :param callers: the number of connections. Each sends its next request as soon as it has a response.
    :param max_calls_per_caller: a caller stops after so many calls.
    :param results: results of earlier calls, to which these are added.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    deadline = time.monotonic() + duration_s
    results = results or CallResults()
    with ThreadPoolExecutor(callers) as threads:
        targets = [ports[number % len(ports)] for number in range(callers)]
        for responses in threads.map(lambda port: _call_until(port, request, deadline, max_calls_per_caller), targets):
            for status, body in responses:
                results.statuses[status] += 1
                if status == 200:
                    process_id, earliest, latest = body.split()
                    results.processes.add(int(process_id))
                    results.admissions.append((float(earliest), float(latest)))
    return results


def _call_until(port: int, request: bytes, deadline: float, max_calls: int) -> list[tuple[int, bytes]]:
    """Send the request again and again on one connection. Return status and body of each response."""
    responses: list[tuple[int, bytes]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < deadline and len(responses) < max_calls:
            connection.sendall(request)
            responses.append(_read_response(connection))
    return responses


def _read_response(connection: socket.socket) -> tuple[int, bytes]:
    """Read status and body of a response and leave the connection open.

    ``http.client`` takes three times as long, and the callers must be faster than the limit.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, head
    while len(body) < int(length[1]):
        body += _receive(connection)
    return int(head[9:12]), body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data
