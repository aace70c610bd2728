"""The guard of every fetch: judges the URL, resolves its name once, and says which addresses may be asked."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from valetkey.protocol.uri import resource_uri_problem

from .addresses import Address, is_permitted, parse_networks
from .errors import FetchFailed, FetchRefused
from .fetch_limits import Deadline

Lookup = Callable[[str, int], Iterable[str]]

_MAX_ADDRESSES, _MAX_LOOKUPS = 4, 32


def system_lookup(host: str, port: int) -> list[str]:
    """The addresses of a name, in the system's order."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class SafeResolver:
    def __init__(self, allowed_networks: Iterable[str], lookup: Lookup = system_lookup) -> None:
        self._allowed = parse_networks(allowed_networks)
        self._lookup = lookup
        self._lookup_semaphore = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def find_addresses(self, url: str, deadline: Deadline) -> list[Address]:
        """The addresses that may be asked for this URL: one at least, and no others whatever its name says later.

        :raises FetchRefused: where the URL is not one to fetch, or none of its addresses is.
        :raises FetchFailed: where its name has no address.
        """
        parts = check_url(url)
        host = parts.hostname or ""
        found = self._resolve(host, parts.port or (443 if parts.scheme == "https" else 80), deadline)
        permitted = [address for address in found if is_permitted(address, self._allowed)]
        if not permitted:
            raise FetchRefused(f"{host} is not at an address that this server may ask")
        if parts.scheme == "https":
            return permitted
        on_loopback = [address for address in permitted if address.is_loopback]
        if not on_loopback:
            raise FetchRefused(f"the URL at {host} is not https")
        return on_loopback

    def _resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """One lookup, in a thread of its own: the system's has no deadline."""
        try:
            return [ip_address(host)]
        except ValueError:
            answers: queue.SimpleQueue[list[Address]] = queue.SimpleQueue()
        if not self._lookup_semaphore.acquire(timeout=deadline.remaining_s()):
            raise FetchFailed(f"too many names are looked up to look up {host} too")
        threading.Thread(
            target=self._run_lookup, args=(answers, host, port), name="valetkey-lookup", daemon=True
        ).start()
        try:
            found = answers.get(timeout=deadline.remaining_s())
        except queue.Empty:
            raise TimeoutError from None
        if not found:
            raise FetchFailed(f"the name {host} has no address")
        return found

    def _run_lookup(self, results: queue.SimpleQueue[list[Address]], host: str, port: int) -> None:
        try:
            found = [ip_address(address) for address in self._lookup(host, port)]
        except (OSError, ValueError):  # UnicodeError, which names that are too long raise, is a ValueError
            found = []
        finally:
            self._lookup_semaphore.release()
        results.put(list(dict.fromkeys(found))[:_MAX_ADDRESSES])


def check_url(url: str) -> SplitResult:
    """:raises FetchRefused: where it is not an absolute http(s) URL without user information and fragment."""
    problem = resource_uri_problem(url)
    if problem:
        raise FetchRefused(f"the URL cannot be fetched: {problem}")
    return urlsplit(url)
