"""IPv4 addresses inside IPv6 addresses: a connection to such an address may reach the IPv4 address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

_LOOPBACK = IPv6Address("::1")
_IPV4_IN_LAST_32_BITS = tuple(  # IPv6 networks whose addresses end with an IPv4 address
    IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible (RFC 4291 §2.5.5.1)
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291 §2.5.5.2)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765 §2.1)
        "64:ff9b::/96",  # NAT64 (RFC 6052 §2.1)
        "64:ff9b:1::/48",  # local-use NAT64 (RFC 8215)
    )
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # before the IPv4 address, in any network (RFC 5214 §6.1)


def list_embedded_ipv4(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses embedded in an IPv6 address (Teredo has two); none for an IPv4 address."""
    if isinstance(address, IPv4Address) or address == _LOOPBACK:
        return ()
    if address.teredo:
        return address.teredo  # server and client (RFC 4380 §4)
    if address.sixtofour:
        return (address.sixtofour,)
    is_isatap = int(address) >> 32 & 0xFFFFFFFF in _ISATAP
    if is_isatap or any(address in network for network in _IPV4_IN_LAST_32_BITS):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()
