"""Callers who never rest: as many calls of one route as they can make, and when each was admitted."""

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
    """What the calls gave: statuses, the processes that admitted, and for each admission its two moments."""

    statuses: Counter[int] = field(default_factory=Counter)
    processes: set[int] = field(default_factory=set)
    admissions: list[tuple[float, float]] = field(default_factory=list)

    def excess(self, n: int, period: float, burst: int) -> float:
        """By how many calls the worst of all spans of time is over ``burst + n * t / period``.

        Each admission lay somewhere between its two moments; a span counts only those that lay in it for sure.
        """
        ended = sorted(self.admissions, key=lambda moments: moments[1])
        begun = sorted(moments[0] for moments in self.admissions)
        worst = float("-inf")
        for start in begun[:: max(1, len(begun) // 300)]:
            inside = 0
            for first, last in ended:
                if first >= start:
                    inside += 1
                    worst = max(worst, inside - burst - n * (last - start) / period)
        return worst


def generate_load(
    ports: Sequence[int],
    path: str,
    *,
    duration_s: float,
    callers: int = 32,
    max_calls_per_caller: int = 1_000_000,
    results: CallResults | None = None,
) -> CallResults:
    """Call a route from many connections at once, evenly on these ports, for some seconds.

    :param each: after so many calls a caller rests.
    :param calls: what earlier callers got, to which these are added.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    until = time.monotonic() + duration_s
    results = results or CallResults()
    with ThreadPoolExecutor(callers) as crowd:
        targets = [ports[number % len(ports)] for number in range(callers)]
        for answers in crowd.map(lambda port: _call_until(port, request, until, max_calls_per_caller), targets):
            for status, body in answers:
                results.statuses[status] += 1
                if status == 200:
                    process, first, last = body.split()
                    results.processes.add(int(process))
                    results.admissions.append((float(first), float(last)))
    return results


def _call_until(port: int, request: bytes, deadline: float, max_calls: int) -> list[tuple[int, bytes]]:
    answers: list[tuple[int, bytes]] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < deadline and len(answers) < max_calls:
            connection.sendall(request)
            answers.append(_read_response(connection))
    return answers


def _read_response(connection: socket.socket) -> tuple[int, bytes]:
    """A keep-alive answer; ``http.client`` would take three times as long, and the crowd must outrun the limit."""
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
        raise ConnectionResetError("the server ended the connection")
    return data
