"""Who a caller is to a limit: its address behind proxies, and the network that counts as one caller."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_ADDRESS_WITH_PORT = re.compile(
    r"(?P<four>[0-9.]+):\d{1,5}|\[(?P<six>[^\]]+)\](?::\d{1,5})?"
)  # as RFC 7239 §6 writes nodes


@lru_cache(maxsize=4096)
def caller_network(address: str | None) -> str:
    """The part of an address by which callers are told apart; one person has a whole IPv6 /64."""
    parsed = _parse(address or "")
    if parsed is None:
        return "unknown"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(ip_network((parsed, 64), strict=False))


def caller_address(remote_addr: str | None, forwarded_for: str | None, trusted_proxies: tuple[str, ...]) -> str | None:
    """The address of whoever called: the last in X-Forwarded-For that no trusted proxy wrote for another."""
    address = remote_addr
    hops = [hop.strip() for hop in (forwarded_for or "").split(",")]
    while hops and hops[-1] and _is_trusted(address, trusted_proxies):
        address = hops.pop()
    return address


@lru_cache(maxsize=4096)
def _is_trusted(address: str | None, proxies: tuple[str, ...]) -> bool:
    parsed = _parse(address or "")
    return parsed is not None and any(parsed in ip_network(proxy) for proxy in proxies)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without a port or a zone; an IPv4 address that a dual-stack socket wrote as IPv6 is IPv4."""
    found = _ADDRESS_WITH_PORT.fullmatch(address)
    bare = (found["four"] or found["six"]) if found else address
    try:
        parsed = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
