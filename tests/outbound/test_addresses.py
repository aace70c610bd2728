"""Addresses that a fetch may connect to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valetkey.outbound.addresses import is_permitted, is_public, parse_networks

REFUSED = {
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "carrier-grade NAT": "100.64.0.1",
    "loopback": "127.0.0.1",
    "other loopback": "127.255.255.254",
    "link-local": "169.254.169.254",
    "Azure's host": "168.63.129.16",
    "IETF assignments": "192.0.0.192",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "6to4 relay": "192.88.99.1",
    "benchmarking": "198.19.255.255",
    "multicast": "239.255.255.255",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified 6": "::",
    "loopback 6": "::1",
    "compatible": "::8.8.8.8",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped public": "::ffff:8.8.8.8",
    "translated": "::ffff:0:8.8.8.8",
    "NAT64 of loopback": "64:ff9b::127.0.0.1",
    "NAT64 of public": "64:ff9b::8.8.8.8",
    "local-use NAT64": "64:ff9b:1::8.8.8.8",
    "discard": "100::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "benchmarking 6": "2001:2::1",
    "ORCHID": "2001:20::1",
    "documentation 6": "2001:db8::1",
    "new documentation 6": "3fff::1",
    "6to4 of loopback": "2002:7f00:1::1",
    "6to4 of public": "2002:808:808::1",
    "compatible loopback": "::127.0.0.1",
    "ISATAP of a private address": "2606:4700::5efe:10.0.0.1",
    "ISATAP of loopback": "2606:4700::200:5efe:127.0.0.1",
    "segment routing": "5f00::1",
    "unique-local": "fd00:ec2::254",
    "link-local 6": "fe80::1",
    "link-local with a zone": "fe80::1%1",
    "site-local": "fec0::1",
    "multicast 6": "ff0e::1",
    "unassigned": "4000::1",
}


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_permitted(ip_address(address), ())


@pytest.mark.parametrize("address", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "198.20.0.1", "2606:4700::1111"])
def test_a_public_address_is_permitted(address: str) -> None:
    assert is_permitted(ip_address(address), ())


def test_an_allowed_network_is_permitted_and_no_other() -> None:
    allowed = parse_networks(["10.1.0.0/16", "fd00::/8"])
    assert is_permitted(ip_address("10.1.2.3"), allowed)
    assert is_permitted(ip_address("fd00::1"), allowed)
    assert not is_permitted(ip_address("10.2.0.1"), allowed)
    assert not is_permitted(ip_address("127.0.0.1"), allowed)


@pytest.mark.parametrize(
    ("network", "inside"),
    [
        ("64:ff9b::/96", "64:ff9b::{}"),
        ("64:ff9b:1::/48", "64:ff9b:1::{}"),
        ("::ffff:0:0/96", "::ffff:{}"),
        ("::/96", "::{}"),
    ],
)
def test_in_an_allowed_translation_network_the_embedded_ipv4_address_is_checked_too(network: str, inside: str) -> None:
    allowed = parse_networks([network])
    assert is_permitted(ip_address(inside.format("8.8.8.8")), allowed)
    assert not is_permitted(ip_address(inside.format("10.0.0.1")), allowed)
    assert is_permitted(ip_address(inside.format("10.0.0.1")), (*allowed, IPv4Network("10.0.0.0/8")))


def test_in_an_allowed_tunnel_network_the_embedded_ipv4_addresses_are_checked_too() -> None:
    allowed = parse_networks(["2002::/16", "2001::/32"])
    assert is_permitted(IPv6Address("2002:808:808::1"), allowed)
    assert not is_permitted(IPv6Address("2002:a00:1::1"), allowed)
    public_server, private_client = 0x08080808, int(IPv4Address("10.0.0.1")) ^ 0xFFFFFFFF
    teredo = (0x20010000 << 96) | (public_server << 64) | private_client
    assert not is_permitted(IPv6Address(teredo), allowed)


def test_allowing_loopback_does_not_allow_ipv6_addresses_that_embed_it() -> None:
    allowed = parse_networks(["127.0.0.0/8", "::1/128"])
    assert is_permitted(ip_address("::1"), allowed)
    for address in ("::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1"):
        assert not is_permitted(ip_address(address), allowed)


# Networks that the ipaddress module calls global, but Valetkey does not call public.
STRICTER_4 = [IPv4Network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "168.63.129.16/32")]
STRICTER_6 = [IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
PREFIXES = [
    0,
    0x0064FF9B << 96,
    0x20010000 << 96,
    0x20010DB8 << 96,
    0x2002 << 112,
    0xFFFF << 32,
    0xFC << 120,
    0xFF << 120,
]


@settings(deadline=None)
@given(st.ip_addresses(v=4))
@example(IPv4Address("100.127.255.255"))
def test_public_ipv4_addresses_are_those_of_the_ipaddress_module(address: IPv4Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_loopback or address.is_private)
    else:
        assert not address.is_global or any(address in network for network in STRICTER_4)


@settings(deadline=None)
@given(
    st.ip_addresses(v=6)
    | st.builds(lambda prefix, rest: IPv6Address(prefix | rest), st.sampled_from(PREFIXES), st.integers(0, 2**96 - 1))
)
def test_public_ipv6_addresses_are_those_of_the_ipaddress_module(address: IPv6Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not (address.is_multicast or address.is_link_local or address.is_site_local or address.is_private)
        assert (address.ipv4_mapped, address.sixtofour, address.teredo) == (None, None, None)
    elif address in IPv6Network("2000::/3"):
        assert not address.is_global or any(address in network for network in STRICTER_6)


@settings(deadline=None)
@given(st.ip_addresses())
def test_without_allowed_networks_only_public_addresses_are_permitted(address: IPv4Address | IPv6Address) -> None:
    assert is_permitted(address, ()) == is_public(address)
