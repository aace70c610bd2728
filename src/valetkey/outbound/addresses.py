"""IP addresses that an HTTP request may connect to: public ones, and those in networks that the operator allows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from valetkey.protocol.embedded_ipv4 import list_embedded_ipv4

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers (CGNAT, RFC 6598)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the platform services of Azure, reachable from its virtual machines
        "169.254.0.0/16",  # link-local, with the metadata service of cloud providers
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# All IPv6 addresses outside are loopback, link-local, unique-local, site-local, multicast, mapped, NAT64 or unassigned.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_GLOBAL = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation (RFC 9637)
    )
)


def parse_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Return the IP networks for texts in CIDR notation, such as ``10.0.0.0/8``.

    :raises ValueError: if one of the texts is not a network, or has host bits set.
    """
    return tuple(ip_network(network) for network in networks)


def is_permitted(address: Address, allowed_networks: tuple[Network, ...]) -> bool:
    """Return whether an HTTP request may connect to this address: it is public, or in one of the allowed networks.

    If an IPv4 address is embedded in an IPv6 address, both must be permitted.
    """
    if not is_public(address) and not any(address in network for network in allowed_networks):
        return False
    return all(is_permitted(inner, allowed_networks) for inner in list_embedded_ipv4(address))


def is_public(address: Address) -> bool:
    """Return whether an IP address is public and unicast, by the special-purpose address registries (RFC 6890)."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_GLOBAL)
