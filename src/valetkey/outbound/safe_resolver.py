"""SSRF protection of HTTP requests: check the URL, resolve its host once, and return only allowed addresses."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from valetkey.protocol.uri import resource_uri_problem
from valetkey.storage.engine.daemon_thread import start_daemon_thread

from .addresses import Address, is_permitted, parse_networks
from .errors import FetchFailed, FetchRefused
from .fetch_limits import Deadline

Lookup = Callable[[str, int], Iterable[str]]

_MAX_ADDRESSES, _MAX_LOOKUPS = 4, 32


def system_lookup(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host name, as resolved and ordered by the operating system."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class SafeResolver:
    """Resolves the host of a URL to the IP addresses that an HTTP request may connect to.

    :param allowed_networks: networks that are allowed although they are not public, in CIDR notation.
    :param lookup: called with a host name and a port; returns IP addresses.
    """

    def __init__(self, allowed_networks: Iterable[str], lookup: Lookup = system_lookup) -> None:
        self._allowed = parse_networks(allowed_networks)
        self._lookup = lookup
        self._lookup_semaphore = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def find_addresses(self, url: str, deadline: Deadline) -> list[Address]:
        """Return the IP addresses, at least one, that a request to this URL may connect to.

        The caller must connect to one of them, and must not resolve the host again (DNS rebinding).

        :raises FetchRefused: if the URL is invalid, none of its addresses is allowed, or it is http and not loopback.
        :raises FetchFailed: if its host has no address, or too many lookups are in progress.
        :raises TimeoutError: if the deadline passes.
        """
        parts = check_url(url)
        host = parts.hostname or ""
        addresses = self._resolve(host, parts.port or (443 if parts.scheme == "https" else 80), deadline)
        permitted = [address for address in addresses if is_permitted(address, self._allowed)]
        if not permitted:
            raise FetchRefused(
                f"{host} has no public address; if it may be reached, add its network to outbound_allowed_networks"
            )
        if parts.scheme == "https":
            return permitted
        loopback = [address for address in permitted if address.is_loopback]
        if not loopback:
            raise FetchRefused(f"the URL at {host} is not https; http is for loopback addresses only")
        return loopback

    def _resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """Return the IP addresses of a host.

        The lookup runs in its own thread, because a lookup by the operating system cannot be given a timeout.

        :raises FetchFailed: if the host has no address, too many lookups are in progress, or no thread can be started.
        :raises TimeoutError: if the deadline passes.
        """
        try:
            return [ip_address(host)]
        except ValueError:
            results: queue.SimpleQueue[list[Address]] = queue.SimpleQueue()
        if not self._lookup_semaphore.acquire(timeout=deadline.remaining_s()):
            raise FetchFailed(f"too many name lookups are in progress to look up {host}; try again later")
        if start_daemon_thread("valetkey-lookup", self._run_lookup, results, host, port) is None:
            self._lookup_semaphore.release()
            raise FetchFailed(f"no thread can be started to look up {host}; try again later")
        try:
            addresses = results.get(timeout=deadline.remaining_s())
        except queue.Empty:
            raise TimeoutError from None
        if not addresses:
            raise FetchFailed(f"the name {host} has no address")
        return addresses

    def _run_lookup(self, results: queue.SimpleQueue[list[Address]], host: str, port: int) -> None:
        """Put a host's first IP addresses, without duplicates, into the queue; an empty list if the lookup fails."""
        try:
            addresses = [ip_address(address) for address in self._lookup(host, port)]
        except (OSError, ValueError):  # names that are too long raise UnicodeError, which is a ValueError
            addresses = []
        finally:
            self._lookup_semaphore.release()
        results.put(list(dict.fromkeys(addresses))[:_MAX_ADDRESSES])


def check_url(url: str) -> SplitResult:
    """Check an absolute http or https URL, and return its parts.

    :raises FetchRefused: if the URL is not absolute, has another scheme, or has user information or a fragment.
    """
    problem = resource_uri_problem(url)
    if problem:
        raise FetchRefused(f"the URL cannot be fetched: {problem}")
    return urlsplit(url)
