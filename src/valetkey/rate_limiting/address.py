"""The address of a caller behind trusted proxies, and the network that rate limits count as one caller."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_ADDRESS_WITH_PORT = re.compile(
    r"(?P<four>[0-9.]+):\d{1,5}|\[(?P<six>[^\]]+)\](?::\d{1,5})?"
)  # the node syntax of RFC 7239 §6

UNIX_SOCKET = "unix"  # in trusted_proxies: what connects over a Unix socket is a trusted proxy


@lru_cache(maxsize=4096)
def caller_network(address: str | None) -> str:
    """Return the network that counts as one caller in rate limits: the IPv4 address, or the IPv6 address's /64 network.

    The /64 network counts as one, since a single subscriber usually has all of it.
    Returns ``"unknown"`` if there is no valid address.
    """
    parsed = _parse(address or "")
    if parsed is None:
        return "unknown"
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(ip_network((parsed, 64), strict=False))


def caller_address(remote_addr: str | None, forwarded_for: str | None, trusted_proxies: tuple[str, ...]) -> str | None:
    """Return the caller's address: the last in X-Forwarded-For that is not the address of a trusted proxy.

    Addresses further left are ignored, since the caller can write them (RFC 9700 §4.13). If ``remote_addr`` is not a
    trusted proxy, X-Forwarded-For is ignored. If all addresses are trusted proxies, the first of them is returned.
    ``None`` if the address is not known.

    :param remote_addr: address that the connection to the server comes from, or ``None``.
    :param forwarded_for: value of the X-Forwarded-For header, or ``None``.
    :param trusted_proxies: networks of the trusted proxies, such as ``10.0.0.0/8``, and ``UNIX_SOCKET``.
    """
    address = remote_addr
    hops = [hop.strip() for hop in (forwarded_for or "").split(",")]
    while hops and hops[-1] and is_trusted_proxy(address, trusted_proxies):
        address = hops.pop()
    return address


def is_unix_socket(address: str | None) -> bool:
    """Return whether there is no IP address, as for a connection over a Unix socket; nginx calls it ``unix:``."""
    return not address or address == "unix:"


@lru_cache(maxsize=4096)
def is_trusted_proxy(address: str | None, proxies: tuple[str, ...]) -> bool:
    """Return whether an address is in one of the networks, or is a Unix socket and ``UNIX_SOCKET`` is listed."""
    if is_unix_socket(address):
        return UNIX_SOCKET in proxies
    parsed = _parse(address or "")
    return parsed is not None and any(parsed in ip_network(proxy) for proxy in proxies if proxy != UNIX_SOCKET)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address, ignoring port and IPv6 zone; return ``None`` if the text is not a valid address.

    An IPv4 address that a dual-stack socket reports as IPv6 (``::ffff:192.0.2.1``) is returned as IPv4.
    """
    match = _ADDRESS_WITH_PORT.fullmatch(address)
    bare = (match["four"] or match["six"]) if match else address
    try:
        parsed = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
