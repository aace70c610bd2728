"""Where fetches may go is the operator's choice, judged at start."""

from __future__ import annotations

import pytest

from valetkey.settings import Settings, SettingsError
from valetkey.settings.sources import read_settings


def test_on_loopback_fetches_may_reach_loopback_and_in_production_public_addresses_only() -> None:
    assert Settings(issuer="http://127.0.0.1:8000").outbound_networks == ("127.0.0.0/8", "::1/128")
    assert Settings(issuer="https://auth.example").outbound_networks == ()


def test_the_networks_that_the_operator_names_are_the_only_ones() -> None:
    given = read_settings(("", {"outbound_allowed_networks": "10.0.0.0/8, fd00::/8"}))
    assert given.outbound_networks == ("10.0.0.0/8", "fd00::/8")


def test_what_is_no_network_and_what_is_no_file_stop_the_start() -> None:
    with pytest.raises(SettingsError) as told:
        Settings(outbound_allowed_networks=("10.0.0.1/8",), outbound_ca_file="/nowhere/ca.pem")
    assert str(told.value).splitlines() == [
        "outbound_allowed_networks: '10.0.0.1/8' is not a network like 10.0.0.0/8",
        "outbound_ca_file: there is no file '/nowhere/ca.pem'",
    ]
